//! What the services of the well-known Python tutorial are told by, for whoever puts ours in their place.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The value of one of our variables, made of the tutorial's. `None`: it has none for that, or not all that it takes.
pub(super) fn value(name: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let encoded = |name: &str| Some(utf8_percent_encode(&variable(name)?, NON_ALPHANUMERIC).to_string());
    match name {
        "MICROSERVE_ACCOUNTS" => {
            let (host, port) = (variable("MYSQL_HOST")?, variable("MYSQL_PORT").unwrap_or_else(|| "3306".to_owned()));
            let (user, database) = (encoded("MYSQL_USER")?, encoded("MYSQL_DB")?);
            let password = encoded("MYSQL_PASSWORD").unwrap_or_default();
            // Its server has no certificate that anybody could verify.
            Some(format!("mysql://{user}:{password}@{host}:{port}/{database}?ssl-mode=preferred"))
        }
        "MICROSERVE_AUTH" => Some(format!("http://{}", variable("AUTH_SVC_ADDRESS")?)),
        "MICROSERVE_MAILER" => {
            let (user, password) = (encoded("GMAIL_ADDRESS")?, encoded("GMAIL_PASSWORD")?);
            Some(format!("smtps://{user}:{password}@smtp.gmail.com"))
        }
        "MICROSERVE_JWT_SECRET" => variable("JWT_SECRET"),
        "MICROSERVE_MAIL_FROM" => variable("GMAIL_ADDRESS"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tutorials_variables_make_ours() {
        let theirs = |name: &str| {
            let value = match name {
                "MYSQL_HOST" => "host.minikube.internal",
                "MYSQL_USER" => "auth_user",
                "MYSQL_PASSWORD" => "Auth:123/@",
                "MYSQL_DB" => "auth",
                "AUTH_SVC_ADDRESS" => "auth:5000",
                "JWT_SECRET" => "sarcasm",
                "GMAIL_ADDRESS" => "me@gmail.com",
                "GMAIL_PASSWORD" => "app password",
                _ => return None,
            };
            Some(value.to_owned())
        };
        for (name, ours) in [
            (
                "MICROSERVE_ACCOUNTS",
                "mysql://auth%5Fuser:Auth%3A123%2F%40@host.minikube.internal:3306/auth?ssl-mode=preferred",
            ),
            ("MICROSERVE_AUTH", "http://auth:5000"),
            ("MICROSERVE_JWT_SECRET", "sarcasm"),
            ("MICROSERVE_MAILER", "smtps://me%40gmail%2Ecom:app%20password@smtp.gmail.com"),
            ("MICROSERVE_MAIL_FROM", "me@gmail.com"),
        ] {
            assert_eq!(value(name, theirs).as_deref(), Some(ours));
            assert_eq!(value(name, |_| None), None);
        }
        assert_eq!(value("MICROSERVE_QUEUE", theirs), None);
    }
}
