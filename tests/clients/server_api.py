#!/usr/bin/env python3
"""Tests the server API of a fanfare server with the PyPI package `cent`, Centrifugo's own for Python.

    python server_api.py http://127.0.0.1:9001

The server must be a fresh one, with rooms that nobody used. Exits 1 if a check fails.
"""

import asyncio
import base64
import contextlib
import json
import sys

import cent
import requests
import websockets.sync.client

import checking
from checking import STEP_TIMEOUT, equal


class Member:
    """A client of the client protocol, in JSON."""

    def __init__(self, base, user, channel):
        url = base.replace("http", "ws", 1) + "/connection/websocket"
        self.opened = contextlib.ExitStack()
        connecting = websockets.sync.client.connect(url, proxy=None, open_timeout=STEP_TIMEOUT)
        self.socket = self.opened.enter_context(connecting)
        self.client = self.ask(1, connect={"data": {"name": user}})["connect"]["client"]
        self.ask(2, subscribe={"channel": channel})

    def ask(self, number, **command):
        self.socket.send(json.dumps({"id": number, **command}))
        return self.next()

    def next(self):
        while (reply := json.loads(self.socket.recv(STEP_TIMEOUT))) == {}:
            self.socket.send("{}")  # the answer to a ping
        return reply

    def close(self):
        self.opened.close()

    def closed(self):
        """Code and reason of the Close that comes next."""
        try:
            raise AssertionError(f"{self.next()} came instead of a Close")
        except websockets.exceptions.ConnectionClosed as closed:
            return closed.rcvd.code, closed.rcvd.reason


def refused(code, call, *arguments):
    try:
        result = call(*arguments)
    except cent.CentApiResponseError as error:
        equal(error.code, code, f"the error, {error.message}")
        return error.message
    raise AssertionError(f"not refused: {result}")


class Checks:
    def __init__(self, base):
        self.base = base
        session = requests.Session()
        session.trust_env = False  # a proxy named in the environment is not for these tests
        self.api = cent.Client(base + "/api", api_key="none is asked for here", timeout=STEP_TIMEOUT, session=session)

    def check_cent_publishes_and_reads_history(self):
        channel, api = "cent history", self.api
        member = Member(self.base, "ann", channel)
        first = api.publish(cent.PublishRequest(channel=channel, data={"a": [1, 2.5, None, "ü"]}))
        equal((first.offset, len(first.epoch)), (1, 16), "where it is")
        equal(member.next()["push"]["pub"], {"data": {"a": [1, 2.5, None, "ü"]}, "offset": 1}, "what the member got")
        api.publish(cent.PublishRequest(channel=channel, data=None, b64data=base64.b64encode(b"\0\xff").decode()))
        for _ in range(2):
            again = cent.PublishRequest(channel=channel, data=3, idempotency_key="k")
            equal(api.publish(again).offset, 3, "a repeat")
        history = api.history(cent.HistoryRequest(channel=channel, limit=10))
        equal([each.data for each in history.publications], [{"a": [1, 2.5, None, "ü"]}, "AP8=", 3], "the history")
        equal([each.tags for each in history.publications], [None, {"form": "base64"}, None], "tags")
        since = cent.StreamPosition(offset=1, epoch=history.epoch)
        part = api.history(cent.HistoryRequest(channel=channel, limit=1, since=since))
        equal(([each.offset for each in part.publications], part.offset), ([2], 3), "a page")
        back = api.history(cent.HistoryRequest(channel=channel, limit=2, reverse=True))
        equal([each.offset for each in back.publications], [3, 2], "the latest first")
        other = cent.StreamPosition(offset=1, epoch="0123456789abcdef")
        refused(112, api.history, cent.HistoryRequest(channel=channel, limit=1, since=other))
        member.close()

    def check_cent_broadcasts(self):
        sent = cent.BroadcastRequest(channels=["cent one", "cent two", ""], data="x")
        responses = self.api.broadcast(sent).responses
        equal([each.result and each.result.offset for each in responses], [1, 1, None], "offsets")
        equal(responses[2].error.code, 107, "the error of one")
        too_many = cent.BroadcastRequest(channels=[f"cent {number}" for number in range(1001)], data=1)
        assert "1001" in refused(106, self.api.broadcast, too_many)

    def check_cent_sees_who_is_there(self):
        channel, api = "cent presence", self.api
        members = [Member(self.base, user, channel) for user in ("ann", "ann", "bob")]
        presence = api.presence(cent.PresenceRequest(channel=channel)).presence
        equal({client: info.user for client, info in presence.items()},
              {member.client: user for member, user in zip(members, ("ann", "ann", "bob"))}, "who is there")
        stats = api.presence_stats(cent.PresenceStatsRequest(channel=channel))
        equal((stats.num_clients, stats.num_users), (3, 2), "how many")
        channels = api.channels(cent.ChannelsRequest(pattern="cent pres*")).channels
        equal({name: info.num_clients for name, info in channels.items()}, {channel: 3}, "channels")
        node, = api.info(cent.InfoRequest()).nodes
        assert node.name == "fanfare" and node.num_clients >= 4 and node.num_channels >= 1, node
        for member in members:
            member.close()

    def check_cent_removes_users(self):
        channel, api = "cent users", self.api
        members = [Member(self.base, "eve", channel) for _ in range(3)]
        api.unsubscribe(cent.UnsubscribeRequest(user="eve", channel=channel, client=members[0].client))
        equal(members[0].next()["push"]["unsubscribe"]["code"], 2000, "the unsubscription")
        custom = cent.Disconnect(code=4000, reason="no more")
        api.disconnect(cent.DisconnectRequest(user="eve", client=members[1].client, disconnect=custom))
        equal(members[1].closed(), (4000, "no more"), "a close of ours")
        api.disconnect(cent.DisconnectRequest(user="eve", whitelist=[members[2].client]))
        equal(members[0].closed(), (3503, "force disconnect"), "the default")
        equal(members[2].ask(3, ping={}), {"id": 3, "ping": {}}, "one that is spared")
        members[2].close()

    def check_cent_batches(self):
        channel = "cent batch"
        replies = self.api.batch(cent.BatchRequest(requests=[
            cent.PublishRequest(channel=channel, data=1),
            cent.PresenceStatsRequest(channel=channel),
            cent.HistoryRequest(channel=channel, limit=5),
        ])).replies
        equal((replies[0].offset, replies[1].num_clients), (1, 0), "the first two")
        equal([each.data for each in replies[2].publications], [1], "the third sees the first")

    def check_cent_is_told_what_is_not_offered(self):
        api = self.api
        refused(104, api.subscribe, cent.SubscribeRequest(user="ann", channel="a"))
        refused(104, api.refresh, cent.RefreshRequest(user="ann"))
        refused(104, api.history_remove, cent.HistoryRemoveRequest(channel="a"))
        refused(107, api.publish, cent.PublishRequest(channel="", data=1))
        refused(107, api.disconnect, cent.DisconnectRequest(user=""))
        refused(108, api.publish, cent.PublishRequest(channel="a", data=1, skip_history=True))
        refused(108, api.publish, cent.PublishRequest(channel="a", data=1, tags={"a": "b"}))
        refused(108, api.disconnect, cent.DisconnectRequest(user="ann", session="s"))

    def check_cent_works_asynchronously(self):
        async def publish():
            client = cent.AsyncClient(self.base + "/api", api_key="", timeout=STEP_TIMEOUT)
            try:
                requested = [cent.PublishRequest(channel="cent async", data=number) for number in range(20)]
                return await asyncio.gather(*(client.publish(each) for each in requested))
            finally:
                await client.close()

        offsets = [result.offset for result in asyncio.run(publish())]
        equal(sorted(offsets), list(range(1, 21)), "offsets")


if __name__ == "__main__":
    sys.exit(checking.main(__doc__.splitlines()[0], Checks))
