//! Who may depend on whom: the core on no adapter, an adapter on the core alone, nobody on the binaries.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

fn workspace() -> Vec<Package> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
    metadata.packages
}

/// The workspace's own crates that a crate is built from (tests aside).
fn own_dependencies(package: &Package) -> BTreeSet<&str> {
    let normal = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
    normal.map(|d| d.name.as_str()).filter(|name| name.starts_with("microserve")).collect()
}

#[test]
fn the_core_knows_no_adapter() {
    let packages = workspace();
    let core = packages.iter().find(|p| p.name.as_str() == "microserve-core").unwrap();
    assert_eq!(own_dependencies(core), BTreeSet::new());
    for driver in ["sqlx", "mongodb", "lapin", "axum", "hyper", "symphonia", "mp3lame-encoder", "reqwest", "clap"] {
        assert!(!core.dependencies.iter().any(|d| d.name == driver), "the core depends on {driver}");
    }
}

#[test]
fn adapters_know_the_core_and_not_each_other() {
    let packages = workspace();
    let adapters: Vec<_> =
        packages.iter().filter(|p| p.manifest_path.as_str().replace('\\', "/").contains("/adapters/")).collect();
    assert!(adapters.len() >= 4, "the adapters were not found");
    for adapter in adapters {
        assert_eq!(own_dependencies(adapter), BTreeSet::from(["microserve-core"]), "{}", adapter.name);
    }
}

#[test]
fn nobody_knows_the_binaries() {
    for package in workspace() {
        let knows = own_dependencies(&package).contains("microserve");
        assert!(!knows || package.name.as_str() == "microserve-examples", "{} depends on the binaries", package.name);
    }
}

#[test]
fn tests_only_are_not_published() {
    for package in workspace() {
        let helper = matches!(package.name.as_str(), "microserve-testkit" | "microserve-examples");
        assert_eq!(helper, package.publish.as_ref().is_some_and(Vec::is_empty), "{}", package.name);
    }
}
