# HELP process_open_fds Descriptors that are open.
# TYPE process_open_fds gauge
process_open_fds 529.0
# HELP process_max_fds Descriptors that may be open.
# TYPE process_max_fds gauge
process_max_fds 20000.0
# HELP process_resident_memory_bytes Resident memory of the process.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 9007104.0
# HELP process_start_time_seconds When the server has started, since 1970.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1795807403.0872534
# HELP fanfare_build_info The version of the server.
# TYPE fanfare_build_info gauge
fanfare_build_info{version="0.1.0"} 1
# HELP fanfare_stopping 1 while the server shuts down, else 0.
# TYPE fanfare_stopping gauge
fanfare_stopping 0
# HELP fanfare_connections_limit Connections that there may be (--max-connections).
# TYPE fanfare_connections_limit gauge
fanfare_connections_limit 18987
# HELP fanfare_connections Connections now, by state.
# TYPE fanfare_connections gauge
fanfare_connections{state="handshaking"} 0
fanfare_connections{state="http"} 0
fanfare_connections{state="websocket"} 501
fanfare_connections{state="events"} 0
fanfare_connections{state="closing"} 0
# HELP fanfare_shard_connections Connections now, by state, by shard.
# TYPE fanfare_shard_connections gauge
fanfare_shard_connections{shard="0",state="handshaking"} 0
fanfare_shard_connections{shard="0",state="http"} 0
fanfare_shard_connections{shard="0",state="websocket"} 501
fanfare_shard_connections{shard="0",state="events"} 0
fanfare_shard_connections{shard="0",state="closing"} 0
# HELP fanfare_accepts_total Connections taken over from the acceptor.
# TYPE fanfare_accepts_total counter
fanfare_accepts_total 501
# HELP fanfare_shard_accepts_total Connections taken over from the acceptor, by shard.
# TYPE fanfare_shard_accepts_total counter
fanfare_shard_accepts_total{shard="0"} 501
# HELP fanfare_opens_total WebSockets opened and streams of events begun.
# TYPE fanfare_opens_total counter
fanfare_opens_total 501
# HELP fanfare_shard_opens_total WebSockets opened and streams of events begun, by shard.
# TYPE fanfare_shard_opens_total counter
fanfare_shard_opens_total{shard="0"} 501
# HELP fanfare_http_requests_total HTTP requests, upgrades among them.
# TYPE fanfare_http_requests_total counter
fanfare_http_requests_total 501
# HELP fanfare_shard_http_requests_total HTTP requests, upgrades among them, by shard.
# TYPE fanfare_shard_http_requests_total counter
fanfare_shard_http_requests_total{shard="0"} 501
# HELP fanfare_refusals_total Connections that were refused, by cause.
# TYPE fanfare_refusals_total counter
fanfare_refusals_total{cause="refused"} 0
fanfare_refusals_total{cause="no_resources"} 0
fanfare_refusals_total{cause="server_full"} 0
fanfare_refusals_total{cause="address_full"} 0
fanfare_refusals_total{cause="handshake_rate"} 0
fanfare_refusals_total{cause="server_handshake_rate"} 0
fanfare_refusals_total{cause="overloaded"} 0
fanfare_refusals_total{cause="out_of_descriptors"} 0
fanfare_refusals_total{cause="untrusted_proxy"} 0
fanfare_refusals_total{cause="proxy_header"} 0
# HELP fanfare_shard_refusals_total Connections that were refused, by cause, by shard.
# TYPE fanfare_shard_refusals_total counter
fanfare_shard_refusals_total{shard="0",cause="refused"} 0
fanfare_shard_refusals_total{shard="0",cause="no_resources"} 0
fanfare_shard_refusals_total{shard="0",cause="server_full"} 0
fanfare_shard_refusals_total{shard="0",cause="address_full"} 0
fanfare_shard_refusals_total{shard="0",cause="handshake_rate"} 0
fanfare_shard_refusals_total{shard="0",cause="server_handshake_rate"} 0
fanfare_shard_refusals_total{shard="0",cause="overloaded"} 0
fanfare_shard_refusals_total{shard="0",cause="out_of_descriptors"} 0
fanfare_shard_refusals_total{shard="0",cause="untrusted_proxy"} 0
fanfare_shard_refusals_total{shard="0",cause="proxy_header"} 0
# HELP fanfare_closes_total Connections that have ended, by cause.
# TYPE fanfare_closes_total counter
fanfare_closes_total{cause="peer_closed"} 0
fanfare_closes_total{cause="peer_gone"} 0
fanfare_closes_total{cause="transport_failed"} 0
fanfare_closes_total{cause="protocol_error"} 0
fanfare_closes_total{cause="limit_exceeded"} 0
fanfare_closes_total{cause="message_timeout"} 0
fanfare_closes_total{cause="heartbeat_timeout"} 0
fanfare_closes_total{cause="slow_consumer_history"} 0
fanfare_closes_total{cause="slow_consumer_queue"} 0
fanfare_closes_total{cause="slow_consumer_stalled"} 0
fanfare_closes_total{cause="too_many_memberships"} 0
fanfare_closes_total{cause="rate_exceeded"} 0
fanfare_closes_total{cause="endpoint"} 0
fanfare_closes_total{cause="introduction_timeout"} 0
fanfare_closes_total{cause="api"} 0
fanfare_closes_total{cause="endpoint_panic"} 0
fanfare_closes_total{cause="shutdown"} 0
fanfare_closes_total{cause="refused"} 0
fanfare_closes_total{cause="http_answered"} 0
fanfare_closes_total{cause="http_idle"} 0
fanfare_closes_total{cause="handshake_timeout"} 0
fanfare_closes_total{cause="no_resources"} 0
fanfare_closes_total{cause="server_full"} 0
fanfare_closes_total{cause="address_full"} 0
fanfare_closes_total{cause="handshake_rate"} 0
fanfare_closes_total{cause="server_handshake_rate"} 0
fanfare_closes_total{cause="overloaded"} 0
fanfare_closes_total{cause="slow_consumer_shed"} 0
fanfare_closes_total{cause="out_of_descriptors"} 0
fanfare_closes_total{cause="untrusted_proxy"} 0
fanfare_closes_total{cause="proxy_header"} 0
# HELP fanfare_shard_closes_total Connections that have ended, by cause, by shard.
# TYPE fanfare_shard_closes_total counter
fanfare_shard_closes_total{shard="0",cause="peer_closed"} 0
fanfare_shard_closes_total{shard="0",cause="peer_gone"} 0
fanfare_shard_closes_total{shard="0",cause="transport_failed"} 0
fanfare_shard_closes_total{shard="0",cause="protocol_error"} 0
fanfare_shard_closes_total{shard="0",cause="limit_exceeded"} 0
fanfare_shard_closes_total{shard="0",cause="message_timeout"} 0
fanfare_shard_closes_total{shard="0",cause="heartbeat_timeout"} 0
fanfare_shard_closes_total{shard="0",cause="slow_consumer_history"} 0
fanfare_shard_closes_total{shard="0",cause="slow_consumer_queue"} 0
fanfare_shard_closes_total{shard="0",cause="slow_consumer_stalled"} 0
fanfare_shard_closes_total{shard="0",cause="too_many_memberships"} 0
fanfare_shard_closes_total{shard="0",cause="rate_exceeded"} 0
fanfare_shard_closes_total{shard="0",cause="endpoint"} 0
fanfare_shard_closes_total{shard="0",cause="introduction_timeout"} 0
fanfare_shard_closes_total{shard="0",cause="api"} 0
fanfare_shard_closes_total{shard="0",cause="endpoint_panic"} 0
fanfare_shard_closes_total{shard="0",cause="shutdown"} 0
fanfare_shard_closes_total{shard="0",cause="refused"} 0
fanfare_shard_closes_total{shard="0",cause="http_answered"} 0
fanfare_shard_closes_total{shard="0",cause="http_idle"} 0
fanfare_shard_closes_total{shard="0",cause="handshake_timeout"} 0
fanfare_shard_closes_total{shard="0",cause="no_resources"} 0
fanfare_shard_closes_total{shard="0",cause="server_full"} 0
fanfare_shard_closes_total{shard="0",cause="address_full"} 0
fanfare_shard_closes_total{shard="0",cause="handshake_rate"} 0
fanfare_shard_closes_total{shard="0",cause="server_handshake_rate"} 0
fanfare_shard_closes_total{shard="0",cause="overloaded"} 0
fanfare_shard_closes_total{shard="0",cause="slow_consumer_shed"} 0
fanfare_shard_closes_total{shard="0",cause="out_of_descriptors"} 0
fanfare_shard_closes_total{shard="0",cause="untrusted_proxy"} 0
fanfare_shard_closes_total{shard="0",cause="proxy_header"} 0
# HELP fanfare_received_messages_total WebSocket messages received.
# TYPE fanfare_received_messages_total counter
fanfare_received_messages_total 4036
# HELP fanfare_shard_received_messages_total WebSocket messages received, by shard.
# TYPE fanfare_shard_received_messages_total counter
fanfare_shard_received_messages_total{shard="0"} 4036
# HELP fanfare_sent_messages_total Messages sent: deliveries, replies of endpoints, joins and leaves.
# TYPE fanfare_sent_messages_total counter
fanfare_sent_messages_total 2013756
# HELP fanfare_shard_sent_messages_total Messages sent: deliveries, replies of endpoints, joins and leaves, by shard.
# TYPE fanfare_shard_sent_messages_total counter
fanfare_shard_sent_messages_total{shard="0"} 2013756
# HELP fanfare_received_bytes_total Bytes received, of any kind.
# TYPE fanfare_received_bytes_total counter
fanfare_received_bytes_total 66240276
# HELP fanfare_shard_received_bytes_total Bytes received, of any kind, by shard.
# TYPE fanfare_shard_received_bytes_total counter
fanfare_shard_received_bytes_total{shard="0"} 66240276
# HELP fanfare_sent_bytes_total Bytes that the kernel took, of any kind.
# TYPE fanfare_sent_bytes_total counter
fanfare_sent_bytes_total 33001547055
# HELP fanfare_shard_sent_bytes_total Bytes that the kernel took, of any kind, by shard.
# TYPE fanfare_shard_sent_bytes_total counter
fanfare_shard_sent_bytes_total{shard="0"} 33001547055
# HELP fanfare_send_calls_total Send calls of which the kernel took something.
# TYPE fanfare_send_calls_total counter
fanfare_send_calls_total 390654
# HELP fanfare_shard_send_calls_total Send calls of which the kernel took something, by shard.
# TYPE fanfare_shard_send_calls_total counter
fanfare_shard_send_calls_total{shard="0"} 390654
# HELP fanfare_publications_total Messages that entered a room.
# TYPE fanfare_publications_total counter
fanfare_publications_total 4036
# HELP fanfare_shard_publications_total Messages that entered a room, by shard.
# TYPE fanfare_shard_publications_total counter
fanfare_shard_publications_total{shard="0"} 4036
# HELP fanfare_deliveries_total Messages of rooms given to a member.
# TYPE fanfare_deliveries_total counter
fanfare_deliveries_total 2013756
# HELP fanfare_shard_deliveries_total Messages of rooms given to a member, by shard.
# TYPE fanfare_shard_deliveries_total counter
fanfare_shard_deliveries_total{shard="0"} 2013756
# HELP fanfare_flush_latency_seconds From the turn that has read a publication to the end of the turn that has sent it to the members of a shard.
# TYPE fanfare_flush_latency_seconds histogram
fanfare_flush_latency_seconds_bucket{le="1e-05"} 0
fanfare_flush_latency_seconds_bucket{le="2.5e-05"} 0
fanfare_flush_latency_seconds_bucket{le="5e-05"} 0
fanfare_flush_latency_seconds_bucket{le="0.0001"} 0
fanfare_flush_latency_seconds_bucket{le="0.00025"} 0
fanfare_flush_latency_seconds_bucket{le="0.0005"} 0
fanfare_flush_latency_seconds_bucket{le="0.001"} 0
fanfare_flush_latency_seconds_bucket{le="0.0025"} 0
fanfare_flush_latency_seconds_bucket{le="0.005"} 1
fanfare_flush_latency_seconds_bucket{le="0.01"} 29
fanfare_flush_latency_seconds_bucket{le="0.025"} 4027
fanfare_flush_latency_seconds_bucket{le="0.05"} 4027
fanfare_flush_latency_seconds_bucket{le="0.1"} 4027
fanfare_flush_latency_seconds_bucket{le="0.25"} 4027
fanfare_flush_latency_seconds_bucket{le="0.5"} 4027
fanfare_flush_latency_seconds_bucket{le="1"} 4027
fanfare_flush_latency_seconds_bucket{le="2.5"} 4027
fanfare_flush_latency_seconds_bucket{le="5"} 4027
fanfare_flush_latency_seconds_bucket{le="10"} 4027
fanfare_flush_latency_seconds_bucket{le="+Inf"} 4027
fanfare_flush_latency_seconds_sum 73.007046681
fanfare_flush_latency_seconds_count 4027
# HELP fanfare_shard_flush_latency_seconds From the turn that has read a publication to the end of the turn that has sent it to the members of a shard, by shard.
# TYPE fanfare_shard_flush_latency_seconds histogram
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="1e-05"} 0
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="2.5e-05"} 0
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="5e-05"} 0
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="0.0001"} 0
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="0.00025"} 0
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="0.0005"} 0
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="0.001"} 0
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="0.0025"} 0
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="0.005"} 1
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="0.01"} 29
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="0.025"} 4027
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="0.05"} 4027
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="0.1"} 4027
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="0.25"} 4027
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="0.5"} 4027
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="1"} 4027
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="2.5"} 4027
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="5"} 4027
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="10"} 4027
fanfare_shard_flush_latency_seconds_bucket{shard="0",le="+Inf"} 4027
fanfare_shard_flush_latency_seconds_sum{shard="0"} 73.007046681
fanfare_shard_flush_latency_seconds_count{shard="0"} 4027
# HELP fanfare_members Memberships now: connections in rooms.
# TYPE fanfare_members gauge
fanfare_members 501
# HELP fanfare_shard_members Memberships now: connections in rooms, by shard.
# TYPE fanfare_shard_members gauge
fanfare_shard_members{shard="0"} 501
# HELP fanfare_rooms Rooms now, those without members but with a history among them.
# TYPE fanfare_rooms gauge
fanfare_rooms 1
# HELP fanfare_shard_rooms Rooms with members there now, by shard.
# TYPE fanfare_shard_rooms gauge
fanfare_shard_rooms{shard="0"} 1
# HELP fanfare_history_bytes Memory that the histories of all rooms pin (--history-memory).
# TYPE fanfare_history_bytes gauge
fanfare_history_bytes 1022104
# HELP fanfare_slow_consumers_total What became of members that did not keep up, by the lag policy of the room.
# TYPE fanfare_slow_consumers_total counter
fanfare_slow_consumers_total{policy="disconnect",outcome="left_behind"} 0
fanfare_slow_consumers_total{policy="disconnect",outcome="stalled"} 0
fanfare_slow_consumers_total{policy="skip",outcome="removed"} 0
fanfare_slow_consumers_total{policy="skip",outcome="skipped"} 0
fanfare_slow_consumers_total{policy="skip",outcome="stalled"} 0
fanfare_slow_consumers_total{policy="latest",outcome="skipped"} 0
fanfare_slow_consumers_total{policy="latest",outcome="stalled"} 0
# HELP fanfare_shard_slow_consumers_total What became of members that did not keep up, by the lag policy of the room, by shard.
# TYPE fanfare_shard_slow_consumers_total counter
fanfare_shard_slow_consumers_total{shard="0",policy="disconnect",outcome="left_behind"} 0
fanfare_shard_slow_consumers_total{shard="0",policy="disconnect",outcome="stalled"} 0
fanfare_shard_slow_consumers_total{shard="0",policy="skip",outcome="removed"} 0
fanfare_shard_slow_consumers_total{shard="0",policy="skip",outcome="skipped"} 0
fanfare_shard_slow_consumers_total{shard="0",policy="skip",outcome="stalled"} 0
fanfare_shard_slow_consumers_total{shard="0",policy="latest",outcome="skipped"} 0
fanfare_shard_slow_consumers_total{shard="0",policy="latest",outcome="stalled"} 0
# HELP fanfare_skipped_messages_total Messages that slow members were not given, but for their own.
# TYPE fanfare_skipped_messages_total counter
fanfare_skipped_messages_total 0
# HELP fanfare_shard_skipped_messages_total Messages that slow members were not given, but for their own, by shard.
# TYPE fanfare_shard_skipped_messages_total counter
fanfare_shard_skipped_messages_total{shard="0"} 0
# HELP fanfare_waiting_connections Connections now whose sockets have not taken all.
# TYPE fanfare_waiting_connections gauge
fanfare_waiting_connections 0
# HELP fanfare_shard_waiting_connections Connections now whose sockets have not taken all, by shard.
# TYPE fanfare_shard_waiting_connections gauge
fanfare_shard_waiting_connections{shard="0"} 0
# HELP fanfare_lag_messages How many messages members are behind when they are served, 1 being in step.
# TYPE fanfare_lag_messages histogram
fanfare_lag_messages_bucket{le="1"} 1503
fanfare_lag_messages_bucket{le="2"} 125378
fanfare_lag_messages_bucket{le="4"} 150931
fanfare_lag_messages_bucket{le="8"} 390969
fanfare_lag_messages_bucket{le="16"} 390969
fanfare_lag_messages_bucket{le="32"} 390969
fanfare_lag_messages_bucket{le="64"} 390969
fanfare_lag_messages_bucket{le="128"} 390969
fanfare_lag_messages_bucket{le="256"} 390969
fanfare_lag_messages_bucket{le="512"} 390969
fanfare_lag_messages_bucket{le="1024"} 390969
fanfare_lag_messages_bucket{le="4096"} 390969
fanfare_lag_messages_bucket{le="16384"} 390969
fanfare_lag_messages_bucket{le="65536"} 390969
fanfare_lag_messages_bucket{le="+Inf"} 390969
fanfare_lag_messages_sum 2018202.0
fanfare_lag_messages_count 390969
# HELP fanfare_shard_lag_messages How many messages members are behind when they are served, 1 being in step, by shard.
# TYPE fanfare_shard_lag_messages histogram
fanfare_shard_lag_messages_bucket{shard="0",le="1"} 1503
fanfare_shard_lag_messages_bucket{shard="0",le="2"} 125378
fanfare_shard_lag_messages_bucket{shard="0",le="4"} 150931
fanfare_shard_lag_messages_bucket{shard="0",le="8"} 390969
fanfare_shard_lag_messages_bucket{shard="0",le="16"} 390969
fanfare_shard_lag_messages_bucket{shard="0",le="32"} 390969
fanfare_shard_lag_messages_bucket{shard="0",le="64"} 390969
fanfare_shard_lag_messages_bucket{shard="0",le="128"} 390969
fanfare_shard_lag_messages_bucket{shard="0",le="256"} 390969
fanfare_shard_lag_messages_bucket{shard="0",le="512"} 390969
fanfare_shard_lag_messages_bucket{shard="0",le="1024"} 390969
fanfare_shard_lag_messages_bucket{shard="0",le="4096"} 390969
fanfare_shard_lag_messages_bucket{shard="0",le="16384"} 390969
fanfare_shard_lag_messages_bucket{shard="0",le="65536"} 390969
fanfare_shard_lag_messages_bucket{shard="0",le="+Inf"} 390969
fanfare_shard_lag_messages_sum{shard="0"} 2018202.0
fanfare_shard_lag_messages_count{shard="0"} 390969
# HELP fanfare_read_pauses_total Times that a connection was not read from for a while, by reason.
# TYPE fanfare_read_pauses_total counter
fanfare_read_pauses_total{reason="replies"} 0
fanfare_read_pauses_total{reason="mailbox"} 0
fanfare_read_pauses_total{reason="rate"} 0
# HELP fanfare_shard_read_pauses_total Times that a connection was not read from for a while, by reason, by shard.
# TYPE fanfare_shard_read_pauses_total counter
fanfare_shard_read_pauses_total{shard="0",reason="replies"} 0
fanfare_shard_read_pauses_total{shard="0",reason="mailbox"} 0
fanfare_shard_read_pauses_total{shard="0",reason="rate"} 0
# HELP fanfare_queue_bytes Memory that outbound queues pin now.
# TYPE fanfare_queue_bytes gauge
fanfare_queue_bytes 0
# HELP fanfare_shard_queue_bytes Memory that outbound queues pin now, by shard.
# TYPE fanfare_shard_queue_bytes gauge
fanfare_shard_queue_bytes{shard="0"} 0
# HELP fanfare_queue_max_bytes The most that one outbound queue has pinned.
# TYPE fanfare_queue_max_bytes gauge
fanfare_queue_max_bytes 1092
# HELP fanfare_shard_queue_max_bytes The most that one outbound queue has pinned, by shard.
# TYPE fanfare_shard_queue_max_bytes gauge
fanfare_shard_queue_max_bytes{shard="0"} 1092
# HELP fanfare_answer_bytes Memory that answers pin until they are taken (--http-bytes).
# TYPE fanfare_answer_bytes gauge
fanfare_answer_bytes 0
# HELP fanfare_shard_answer_bytes Memory that answers pin until they are taken (--http-bytes), by shard.
# TYPE fanfare_shard_answer_bytes gauge
fanfare_shard_answer_bytes{shard="0"} 0
# HELP fanfare_memory_used_bytes Memory in use, as it is held against its limit (--memory-limit).
# TYPE fanfare_memory_used_bytes gauge
fanfare_memory_used_bytes 9007104.0
# HELP fanfare_memory_limit_bytes Memory that there may be in use (--memory-limit).
# TYPE fanfare_memory_limit_bytes gauge
fanfare_memory_limit_bytes 25276510208.0
# HELP fanfare_memory_per_connection_bytes Resident memory that has come since the start, histories included, by connection.
# TYPE fanfare_memory_per_connection_bytes gauge
fanfare_memory_per_connection_bytes 5559
# HELP fanfare_turn_duration_seconds How long turns take, without the wait before.
# TYPE fanfare_turn_duration_seconds histogram
fanfare_turn_duration_seconds_bucket{le="1e-05"} 77
fanfare_turn_duration_seconds_bucket{le="2.5e-05"} 80
fanfare_turn_duration_seconds_bucket{le="5e-05"} 82
fanfare_turn_duration_seconds_bucket{le="0.0001"} 88
fanfare_turn_duration_seconds_bucket{le="0.00025"} 168
fanfare_turn_duration_seconds_bucket{le="0.0005"} 1557
fanfare_turn_duration_seconds_bucket{le="0.001"} 8088
fanfare_turn_duration_seconds_bucket{le="0.0025"} 8158
fanfare_turn_duration_seconds_bucket{le="0.005"} 8164
fanfare_turn_duration_seconds_bucket{le="0.01"} 8164
fanfare_turn_duration_seconds_bucket{le="0.025"} 8164
fanfare_turn_duration_seconds_bucket{le="0.05"} 8164
fanfare_turn_duration_seconds_bucket{le="0.1"} 8164
fanfare_turn_duration_seconds_bucket{le="0.25"} 8164
fanfare_turn_duration_seconds_bucket{le="0.5"} 8164
fanfare_turn_duration_seconds_bucket{le="1"} 8164
fanfare_turn_duration_seconds_bucket{le="2.5"} 8164
fanfare_turn_duration_seconds_bucket{le="5"} 8164
fanfare_turn_duration_seconds_bucket{le="10"} 8164
fanfare_turn_duration_seconds_bucket{le="+Inf"} 8164
fanfare_turn_duration_seconds_sum 5.013781737
fanfare_turn_duration_seconds_count 8164
# HELP fanfare_shard_turn_duration_seconds How long turns take, without the wait before, by shard.
# TYPE fanfare_shard_turn_duration_seconds histogram
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="1e-05"} 77
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="2.5e-05"} 80
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="5e-05"} 82
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="0.0001"} 88
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="0.00025"} 168
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="0.0005"} 1557
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="0.001"} 8088
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="0.0025"} 8158
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="0.005"} 8164
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="0.01"} 8164
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="0.025"} 8164
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="0.05"} 8164
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="0.1"} 8164
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="0.25"} 8164
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="0.5"} 8164
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="1"} 8164
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="2.5"} 8164
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="5"} 8164
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="10"} 8164
fanfare_shard_turn_duration_seconds_bucket{shard="0",le="+Inf"} 8164
fanfare_shard_turn_duration_seconds_sum{shard="0"} 5.013781737
fanfare_shard_turn_duration_seconds_count{shard="0"} 8164
# HELP fanfare_mailbox_depth Mail that waits in inboxes now.
# TYPE fanfare_mailbox_depth gauge
fanfare_mailbox_depth 1
# HELP fanfare_shard_mailbox_depth Mail that waits in inboxes now, by shard.
# TYPE fanfare_shard_mailbox_depth gauge
fanfare_shard_mailbox_depth{shard="0"} 1
# HELP fanfare_mailbox_bytes Publications in flight to shards now (--mailbox-bytes).
# TYPE fanfare_mailbox_bytes gauge
fanfare_mailbox_bytes 114780
# HELP fanfare_shard_mailbox_bytes Publications in flight to shards now (--mailbox-bytes), by shard.
# TYPE fanfare_shard_mailbox_bytes gauge
fanfare_shard_mailbox_bytes{shard="0"} 114780
# HELP fanfare_turns_total Turns of the loops.
# TYPE fanfare_turns_total counter
fanfare_turns_total 8164
# HELP fanfare_shard_turns_total Turns of the loops, by shard.
# TYPE fanfare_shard_turns_total counter
fanfare_shard_turns_total{shard="0"} 8164
# HELP fanfare_wake_ups_total Wake-ups that shards have given to others.
# TYPE fanfare_wake_ups_total counter
fanfare_wake_ups_total 0
# HELP fanfare_shard_wake_ups_total Wake-ups that shards have given to others, by shard.
# TYPE fanfare_shard_wake_ups_total counter
fanfare_shard_wake_ups_total{shard="0"} 0
# HELP fanfare_since_turn_seconds Time since the latest turn, which the request has asked for.
# TYPE fanfare_since_turn_seconds gauge
fanfare_since_turn_seconds 0.000730599
# HELP fanfare_shard_since_turn_seconds Time since the latest turn, which the request has asked for, by shard.
# TYPE fanfare_shard_since_turn_seconds gauge
fanfare_shard_since_turn_seconds{shard="0"} 0.000730599
