//! The flags themselves, and that the README says the same.

use clap::CommandFactory;

use super::*;

/// The default of each flag: that of the library, but for the one that is for operators and not for embedders.
fn default_config() -> Config {
    Config { admin: vec!["127.0.0.1:9002".parse().unwrap()], ..Config::default() }
}

#[test]
fn the_flags_default_to_the_default_configuration() {
    let (config, log) = Cli::try_parse_from(["fanfare"]).unwrap().into_config();
    assert_eq!(format!("{config:?}"), format!("{:?}", default_config()));
    assert_eq!(log, LogSettings::default());
}

#[test]
fn the_definition_is_sound_and_every_flag_is_in_the_environment_and_under_a_heading() {
    let command = Cli::command();
    command.clone().debug_assert();
    for flag in command.get_arguments().filter(|flag| !["help", "version"].contains(&flag.get_id().as_str()))
    {
        let long = flag.get_long().unwrap();
        let env = format!("FANFARE_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(flag.get_env().unwrap().to_str(), Some(env.as_str()));
        assert!(flag.get_help_heading().is_some(), "{long}");
    }
}

#[test]
fn complaints_are_one_line_with_flag_value_and_what_is_allowed() {
    for (arguments, parts) in [
        (&["--max-message", "lots"][..], &["--max-message", "lots", "64KiB"][..]),
        (&["--drain", "soon"], &["--drain", "soon", "30s"]),
        (&["--listen", "nowhere"], &["--listen", "nowhere", "unix:PATH"]),
        (&["--max-message", "-5"], &["--max-message", "-5", "64KiB"]),
        (&["--drain", "-5s"], &["--drain", "-5s", "30s"]),
        (&["--exempt-network", "home"], &["--exempt-network", "home", "10.0.0.0/8", "none"]),
        (&["--trusted-proxy", "home"], &["--trusted-proxy", "home", "10.0.0.0/8", "unix"]),
        (&["--forwarded-header", "Via"], &["--forwarded-header", "Via", "X-Forwarded-For"]),
        (&["--listen-proxy", "nowhere"], &["--listen-proxy", "nowhere", "unix:PATH"]),
        (&["--pin", "x"], &["--pin", "'x'", "auto"]),
        (&["--log-format", "xml"], &["--log-format", "xml", "human", "json", "journal"]),
        (&["--log-rate", "0"], &["--log-rate", "'0'", "at least 1"]),
        (&["--memory-limit", "much"], &["--memory-limit", "much", "auto", "512MiB"]),
        (&["--shed-at-percent", "300"], &["--shed-at-percent", "300", "a smaller number"]),
        (&["--workers", "-1"], &["--workers", "-1", "whole number"]),
        (&["--allow-origin", "example.com"], &["--allow-origin", "example.com", "scheme://host"]),
        (&["--colour"], &["--colour"]),
    ] {
        let error = Cli::try_parse_from([&["fanfare"], arguments].concat()).unwrap_err();
        let line = one_line(&error);
        assert_eq!(error.exit_code(), 2);
        assert!(!line.contains('\n') && line.starts_with("error: "), "{line}");
        for part in parts {
            assert!(line.contains(part), "{line} lacks {part}");
        }
    }
}

#[test]
fn the_readme_lists_every_flag_with_its_default() {
    // Other chapters have tables of their own.
    let (_, readme) = include_str!("../../README.md").split_once("\n## Flags\n").unwrap();
    let (readme, _) = readme.split_once("\n### ").unwrap();
    let command = Cli::command();
    let flags: Vec<_> = command
        .get_arguments()
        .filter(|flag| !["help", "version"].contains(&flag.get_id().as_str()))
        .collect();
    for flag in &flags {
        let default = flag.get_default_values().iter().map(|value| format!("`{}` ", value.display()));
        let row = format!("| `--{}` | {}|", flag.get_long().unwrap(), default.collect::<String>());
        assert!(readme.contains(&row), "the README lacks {row}");
    }
    let rows = readme.lines().filter(|line| line.starts_with("| `--")).count();
    assert_eq!(rows, flags.len(), "the README lists no flag that is gone");
}

#[test]
fn the_readme_embeds_like_the_documentation_of_the_crate() {
    let readme = include_str!("../../README.md");
    let documented = include_str!("../lib.rs").lines().filter_map(|line| line.strip_prefix("//! "));
    for line in
        documented.skip_while(|line| !line.starts_with("use fanfare")).take_while(|line| *line != "```")
    {
        if !line.starts_with('#') && !line.contains("shutdown()") {
            assert!(readme.contains(line), "the README lacks: {line}");
        }
    }
}

#[test]
fn the_example_with_its_defaults_taken_in_is_the_default_configuration() {
    let example = include_str!("../../deploy/fanfare.toml");
    let mut text = String::new();
    let mut is_example = false;
    for line in example.lines() {
        match line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#']) && !rest.is_empty()) {
            Some(setting) if !is_example => text += &format!("{setting}\n"),
            _ => {}
        }
        is_example = line.ends_with("for example:");
    }
    let path = std::env::temp_dir().join(format!("fanfare-example-{}.toml", std::process::id()));
    std::fs::write(&path, &text).unwrap();
    let arguments = vec!["fanfare".into(), "--config".into(), path.clone().into_os_string()];
    let loaded = Loader::new(arguments).load();
    std::fs::remove_file(&path).unwrap();
    let loaded = loaded.unwrap();
    assert_eq!(format!("{:?}", loaded.config), format!("{:?}", default_config()));
    assert!(text.lines().count() > 30, "{text}");
}

#[test]
fn a_loader_reads_the_file_anew_each_time() {
    let path = std::env::temp_dir().join(format!("fanfare-reload-{}.toml", std::process::id()));
    let loader = Loader::new(vec!["fanfare".into(), "--config".into(), path.clone().into_os_string()]);
    let mut seen = Vec::new();
    for text in ["max-head = 1024", "max-head = 2048\nlog = 'debug'", "max-head = 'lots'", ""] {
        std::fs::write(&path, text).unwrap();
        seen.push(loader.load().map(|loaded| (loaded.config.max_head, loaded.log.level)).ok());
    }
    std::fs::remove_file(&path).unwrap();
    let info = tracing::Level::INFO;
    assert_eq!(seen, [Some((1024, info)), Some((2048, tracing::Level::DEBUG)), None, Some((8192, info))]);
}
