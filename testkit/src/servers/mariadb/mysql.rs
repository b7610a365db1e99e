//! MySQL in MariaDB's place, where `MICROSERVE_MYSQL` names a folder that Debian's `mysql-server-core` was unpacked into, with
//! the libraries that it needs: a newer Debian's, so they come with it.

use std::path::{Path, PathBuf};

/// What makes it small.
const SMALL: [&str; 6] = [
    "--innodb-redo-log-capacity=8M",
    "--innodb-buffer-pool-size=16M",
    "--performance-schema=OFF",
    "--skip-log-bin",
    "--mysqlx=OFF",
    "--secure-file-priv=NULL",
];

/// An unpacked MySQL.
pub(super) struct Mysql {
    usr: PathBuf,
}

impl Mysql {
    /// The one that the tests are to run with.
    pub(super) fn asked_for() -> Option<Self> {
        std::env::var_os("MICROSERVE_MYSQL").map(|folder| Self { usr: Path::new(&folder).join("usr") })
    }

    /// What runs it: the loader of its own C library.
    pub(super) fn program(&self) -> PathBuf {
        let loaders =
            std::fs::read_dir(self.usr.join("lib64")).unwrap_or_else(|err| panic!("{}: {err}", self.usr.display()));
        let mut loaders = loaders.map_while(Result::ok).map(|entry| entry.path());
        let loader =
            loaders.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-linux")));
        loader.unwrap_or_else(|| panic!("there is no loader in {}/lib64", self.usr.display()))
    }

    /// The arguments of [`program`](Self::program) that come before those of the server.
    pub(super) fn args(&self) -> Vec<String> {
        let usr = self.usr.to_str().expect("the folder has a plain name");
        let libraries = std::fs::read_dir(self.usr.join("lib")).expect("it was unpacked").map_while(Result::ok);
        let mut libraries = libraries.map(|entry| entry.path());
        let libraries = libraries.find(|path| path.join("libc.so.6").is_file()).expect("it has a C library");
        let mut args = vec![
            "--library-path".to_owned(),
            libraries.to_str().expect("the folder has a plain name").to_owned(),
            format!("{usr}/sbin/mysqld"),
            "--no-defaults".to_owned(),
            format!("--basedir={usr}"),
            format!("--lc-messages-dir={usr}/share/mysql"),
            format!("--character-sets-dir={usr}/share/mysql/charsets"),
            format!("--plugin-dir={usr}/lib/mysql/plugin"),
        ];
        args.extend(SMALL.map(str::to_owned));
        args
    }
}
