//! Who is named, the nearest first, and what cannot be faked from the left.

use proptest::prelude::*;

use super::*;

/// Who is named by these header lines.
fn named(header: ForwardedHeader, lines: &[&str]) -> Vec<Option<String>> {
    let fields: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let request = Request::parse(head.as_bytes(), lines.len() + 1).unwrap();
    let shown = |address: SocketAddr| match address.port() {
        0 => address.ip().to_string(),
        _ => address.to_string(),
    };
    header.addresses(&request).map(|address| address.map(shown)).collect()
}

fn x_forwarded_for(lines: &[&str]) -> Vec<Option<String>> {
    let lines: Vec<String> = lines.iter().map(|line| format!("X-Forwarded-For: {line}")).collect();
    named(ForwardedHeader::XForwardedFor, &lines.iter().map(String::as_str).collect::<Vec<_>>())
}

fn forwarded(lines: &[&str]) -> Vec<Option<String>> {
    let lines: Vec<String> = lines.iter().map(|line| format!("Forwarded: {line}")).collect();
    named(ForwardedHeader::Forwarded, &lines.iter().map(String::as_str).collect::<Vec<_>>())
}

fn some(addresses: &[&str]) -> Vec<Option<String>> {
    addresses.iter().map(|address| Some((*address).to_owned())).collect()
}

#[test]
fn the_header_has_one_of_two_names() {
    for (text, header) in [
        ("X-Forwarded-For", ForwardedHeader::XForwardedFor),
        ("x-forwarded-for", ForwardedHeader::XForwardedFor),
        ("Forwarded", ForwardedHeader::Forwarded),
        ("forwarded", ForwardedHeader::Forwarded),
    ] {
        assert_eq!(text.parse(), Ok(header));
        assert_eq!(header.to_string().parse(), Ok(header));
    }
    for wrong in ["", "X-Forwarded", "Via", "X-Real-IP"] {
        assert_eq!(wrong.parse::<ForwardedHeader>(), Err(ForwardedHeaderError), "{wrong}");
    }
}

#[test]
fn x_forwarded_for_is_read_from_the_right_over_all_of_its_lines() {
    assert_eq!(x_forwarded_for(&[]), []);
    assert_eq!(x_forwarded_for(&["192.0.2.7"]), some(&["192.0.2.7"]));
    assert_eq!(x_forwarded_for(&["1.1.1.1, 2.2.2.2 ,3.3.3.3"]), some(&["3.3.3.3", "2.2.2.2", "1.1.1.1"]));
    assert_eq!(x_forwarded_for(&["1.1.1.1, 2.2.2.2", "3.3.3.3"]), some(&["3.3.3.3", "2.2.2.2", "1.1.1.1"]));
    let six = ["2001:db8::7", "[2001:db8::7]:80", "[2001:db8::7]", "192.0.2.7:4711", "192.0.2.7:_a"];
    let shown = ["2001:db8::7", "[2001:db8::7]:80", "2001:db8::7", "192.0.2.7:4711", "192.0.2.7"];
    for (text, shown) in six.into_iter().zip(shown) {
        assert_eq!(x_forwarded_for(&[text]), some(&[shown]));
    }
}

#[test]
fn what_is_no_address_is_nobody_and_stands_in_its_place() {
    for nobody in [
        "",
        "unknown",
        "_hidden",
        "host",
        "192.0.2",
        "192.0.2.07",
        "192.0.2.7:",
        "192.0.2.7:x",
        "192.0.2.7:+1",
        "192.0.2.7:65536",
        "192.0.2.7/32",
        "[::1",
        "::1]",
        "[::1]80",
        "[192.0.2.7]:80",
        "192.0.2.7%eth0",
        "192.0.2.7%eth0:80",
        "fe80::1%",
        "%eth0",
        "fe80::1%eth0]:80",
        "unix:",
        "\"192.0.2.7\"",
        "192.0.2.7 192.0.2.8",
        "\u{e9}",
    ] {
        assert_eq!(x_forwarded_for(&[nobody]), [None], "{nobody}");
        let list = format!("1.1.1.1, {nobody}, 2.2.2.2");
        let wanted = [some(&["2.2.2.2"]), vec![None], some(&["1.1.1.1"])].concat();
        assert_eq!(x_forwarded_for(&[&list]), wanted, "{nobody}");
    }
    // A place that is left empty is not passed over: a proxy that did not know wrote it.
    assert_eq!(x_forwarded_for(&["1.1.1.1,"]), [None, Some("1.1.1.1".to_owned())]);
}

#[test]
fn the_zone_of_an_address_of_ipv6_is_left_out() {
    for (text, shown) in [
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%25eth0", "fe80::1"),
        ("[fe80::1%eth0]", "fe80::1"),
        ("[fe80::1%2]:443", "[fe80::1]:443"),
    ] {
        assert_eq!(x_forwarded_for(&[text]), some(&[shown]), "{text}");
        assert_eq!(forwarded(&[&format!("for=\"{text}\"")]), some(&[shown]), "{text}");
    }
}

#[test]
fn forwarded_is_read_as_rfc_7239_has_it() {
    // The examples of §4, §6 and §7.
    for (line, wanted) in [
        ("for=\"_gazonk\"", vec![None]),
        ("For=\"[2001:db8:cafe::17]:4711\"", some(&["[2001:db8:cafe::17]:4711"])),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", some(&["192.0.2.60"])),
        ("for=192.0.2.43, for=198.51.100.17", some(&["198.51.100.17", "192.0.2.43"])),
        ("for=_hidden, for=_SEVKISEK", vec![None, None]),
        ("for=unknown", vec![None]),
        ("for=\"192.0.2.43:47011\"", some(&["192.0.2.43:47011"])),
        (
            "for=192.0.2.43,for=\"[2001:db8:cafe::17]\",for=unknown",
            [vec![None], some(&["2001:db8:cafe::17", "192.0.2.43"])].concat(),
        ),
    ] {
        assert_eq!(forwarded(&[line]), wanted, "{line}");
    }
    assert_eq!(forwarded(&["for=1.1.1.1", "for=2.2.2.2;host=a"]), some(&["2.2.2.2", "1.1.1.1"]));
    // Without a `for`, or with two, or not closed.
    for nobody in
        ["", "by=1.1.1.1", "for", "for=", "for=1.1.1.1;for=2.2.2.2", "for=\"1.1.1.1", "fort=1.1.1.1"]
    {
        assert_eq!(forwarded(&[nobody]), [None], "{nobody}");
    }
}

#[test]
fn separators_and_quotes_in_quoted_strings_separate_nothing() {
    for line in [
        "host=\"a, for=6.6.6.6\";for=1.1.1.1",
        "for=1.1.1.1;host=\"a, for=6.6.6.6\"",
        "for=1.1.1.1;host=\"a;for=6.6.6.6\"",
        "for=1.1.1.1;host=\"a\\\", for=6.6.6.6\"",
        "for=1.1.1.1;host=\"a\\\\\";proto=http",
        "for = \"1.1.1.1\" ; proto=https",
    ] {
        assert_eq!(forwarded(&[line]), some(&["1.1.1.1"]), "{line}");
    }
}

#[test]
fn nothing_on_the_left_changes_who_is_read_on_the_right() {
    let proxys = ["for=1.1.1.1", "for=\"[2001:db8::1]:80\"", "for=1.1.1.1;host=\"x;y,z\""];
    let clients = [
        "for=\"",
        "\"",
        "for=\\",
        "for=\"\\",
        "host=\"a, for=6.6.6.6",
        "\"\"\"",
        ",,,",
        "\\\"",
        "for=6.6.6.6;for=",
    ];
    for proxy in proxys {
        let wanted = forwarded(&[proxy]);
        for client in clients {
            for joined in [", ", ",", " ,"] {
                assert_eq!(
                    forwarded(&[&format!("{client}{joined}{proxy}")])[0],
                    wanted[0],
                    "{client}{joined}{proxy}"
                );
            }
            assert_eq!(forwarded(&[client, proxy])[0], wanted[0]);
        }
    }
    assert_eq!(x_forwarded_for(&["\", 6.6.6.6, \", 1.1.1.1"])[0], Some("1.1.1.1".to_owned()));
}

proptest! {
    /// Whatever a client writes, the element that a proxy appends is read as it is.
    #[test]
    fn what_a_proxy_appends_is_what_is_read(client in "[ -~]{0,60}", ip: IpAddr, port in 1..=u16::MAX) {
        let address = SocketAddr::new(ip, port);
        let wanted = Some(address.to_string());
        prop_assert_eq!(&x_forwarded_for(&[&format!("{client}, {address}")])[0], &wanted);
        prop_assert_eq!(&forwarded(&[&format!("{client}, for=\"{address}\";proto=https")])[0], &wanted);
        prop_assert_eq!(&forwarded(&[&client, &format!("for=\"{address}\"")])[0], &wanted);
    }
}
