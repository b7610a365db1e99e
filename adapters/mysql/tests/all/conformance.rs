//! A real server keeps every promise of the port.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::time::Duration;

use microserve_core::conformance::Fixture;
use microserve_mysql::MySqlAccounts;
use microserve_testkit::servers::mariadb::Server;

microserve_core::auth_store_conformance!(|| async {
    let server = Server::start();
    let accounts = MySqlAccounts::open(&server.database().parse().unwrap()).await.unwrap();
    accounts.migrate(Duration::from_secs(10)).await.unwrap();
    Fixture::new(accounts).keep(server)
});
