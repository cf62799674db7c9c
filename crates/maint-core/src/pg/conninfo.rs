//! Connection strings, taken apart as libpq takes them apart (`conninfo_parse` and `conninfo_uri_parse_options` in
//! `fe-connect.c`).
//!
//! No message from here shows a piece of the string except a parameter's name. A connection string with a mistake in it
//! is usually one with an unquoted password, and then the mistake *is* the password.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::error::Error;

/// Parameter name to value, only names of [`KEYS`].
pub(crate) type Params = BTreeMap<&'static str, Zeroizing<String>>;

/// What this program makes of a libpq parameter.
pub(crate) enum Support {
    /// Read by [`super::dsn`].
    Used,
    /// Changes nothing that matters to a maintenance session.
    Ignored,
    /// Only these values mean what the driver does anyway; any other one would be silently weaker.
    Only(&'static [&'static str]),
}

/// A libpq parameter and the environment variable that fills it in.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) env: Option<&'static str>,
    pub(crate) support: Support,
}

const fn key(name: &'static str, env: Option<&'static str>, support: Support) -> Key {
    Key { name, env, support }
}

/// The parameters of libpq 18, and the environment variables it reads.
pub(crate) const KEYS: &[Key] = &[
    key("host", Some("PGHOST"), Support::Used),
    key("hostaddr", Some("PGHOSTADDR"), Support::Used),
    key("port", Some("PGPORT"), Support::Used),
    key("user", Some("PGUSER"), Support::Used),
    key("dbname", Some("PGDATABASE"), Support::Used),
    key("password", Some("PGPASSWORD"), Support::Used),
    key("passfile", Some("PGPASSFILE"), Support::Used),
    key("sslmode", Some("PGSSLMODE"), Support::Used),
    key("sslrootcert", Some("PGSSLROOTCERT"), Support::Used),
    key("sslcert", Some("PGSSLCERT"), Support::Used),
    key("sslkey", Some("PGSSLKEY"), Support::Used),
    key("options", Some("PGOPTIONS"), Support::Used),
    key("application_name", Some("PGAPPNAME"), Support::Used),
    key("connect_timeout", Some("PGCONNECT_TIMEOUT"), Support::Used),
    key("fallback_application_name", None, Support::Ignored),
    key("client_encoding", Some("PGCLIENTENCODING"), Support::Ignored),
    key("keepalives", None, Support::Ignored),
    key("keepalives_idle", None, Support::Ignored),
    key("keepalives_interval", None, Support::Ignored),
    key("keepalives_count", None, Support::Ignored),
    key("tcp_user_timeout", None, Support::Ignored),
    key("sslcompression", Some("PGSSLCOMPRESSION"), Support::Ignored),
    key("sslsni", Some("PGSSLSNI"), Support::Ignored),
    key("krbsrvname", Some("PGKRBSRVNAME"), Support::Ignored),
    key("gsslib", Some("PGGSSLIB"), Support::Ignored),
    key("gssdelegation", Some("PGGSSDELEGATION"), Support::Ignored),
    key("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), Support::Ignored),
    // Not libpq's: the service's own programs may put it into a DATABASE_URL that is shared with this one.
    key("statement-cache-capacity", None, Support::Ignored),
    key("gssencmode", Some("PGGSSENCMODE"), Support::Only(&["disable", "prefer"])),
    key("channel_binding", Some("PGCHANNELBINDING"), Support::Only(&["disable", "prefer"])),
    key("target_session_attrs", Some("PGTARGETSESSIONATTRS"), Support::Only(&["any"])),
    key("sslnegotiation", Some("PGSSLNEGOTIATION"), Support::Only(&["postgres"])),
    key("sslcertmode", Some("PGSSLCERTMODE"), Support::Only(&["allow"])),
    key("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION"), Support::Only(&["TLSv1", "TLSv1.1", "TLSv1.2"])),
    key("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION"), Support::Only(&["TLSv1.3"])),
    key("min_protocol_version", Some("PGMINPROTOCOLVERSION"), Support::Only(&["3.0"])),
    key("max_protocol_version", Some("PGMAXPROTOCOLVERSION"), Support::Only(&["3.0", "latest"])),
    key("requiressl", Some("PGREQUIRESSL"), Support::Only(&["0"])),
    key("replication", None, Support::Only(&["false", "off", "no", "0"])),
    key("require_auth", Some("PGREQUIREAUTH"), Support::Only(&[])),
    key("requirepeer", Some("PGREQUIREPEER"), Support::Only(&[])),
    key("sslcrl", Some("PGSSLCRL"), Support::Only(&[])),
    key("sslcrldir", Some("PGSSLCRLDIR"), Support::Only(&[])),
    key("sslpassword", None, Support::Only(&[])),
    key("service", Some("PGSERVICE"), Support::Only(&[])),
];

/// Other spellings of a parameter in a URL: those of the driver that the service's programs use, and JDBC's.
const URL_ALIASES: &[(&str, &str)] = &[
    ("ssl-mode", "sslmode"),
    ("ssl-root-cert", "sslrootcert"),
    ("ssl-ca", "sslrootcert"),
    ("ssl-cert", "sslcert"),
    ("ssl-key", "sslkey"),
];

/// Takes a URL, a `key=value` string or a bare database name apart.
pub(crate) fn parse(text: &str) -> Result<Params, Error> {
    if let Some(rest) = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        parse_url(rest)
    } else if text.contains("://") {
        Err(usage("this is not a PostgreSQL URL: it has to begin with postgresql:// or postgres://"))
    } else if text.contains('=') {
        parse_key_value(text)
    } else {
        let mut params = Params::new();
        insert(&mut params, "dbname", text)?;
        Ok(params)
    }
}

fn usage(message: impl Into<String>) -> Error {
    Error::Usage { message: message.into() }
}

/// The table's name for `name`, or an error that names the nearest one.
fn known(name: &str) -> Result<&'static str, Error> {
    if let Some(key) = KEYS.iter().find(|k| k.name == name) {
        return Ok(key.name);
    }
    let nearest = KEYS
        .iter()
        .map(|k| (strsim::damerau_levenshtein(k.name, name), k.name))
        .min()
        .filter(|(distance, candidate)| *distance <= 3 && *distance < candidate.len());
    Err(usage(match nearest {
        Some((_, nearest)) => format!("unknown connection parameter `{name}`; did you mean `{nearest}`?"),
        None => format!("unknown connection parameter `{name}`; they are listed in libpq's documentation"),
    }))
}

fn insert(params: &mut Params, name: &'static str, value: &str) -> Result<(), Error> {
    if value.contains('\0') {
        return Err(usage(format!("the value of connection parameter `{name}` holds a NUL byte")));
    }
    params.insert(name, Zeroizing::new(value.to_owned()));
    Ok(())
}

fn parse_key_value(text: &str) -> Result<Params, Error> {
    let mut params = Params::new();
    let mut previous = "";
    let mut rest = text.trim_start_matches(is_blank);
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || is_blank(c)).unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        let Some(tail) = tail.trim_start_matches(is_blank).strip_prefix('=') else {
            return Err(usage(if previous.is_empty() {
                "the connection string does not begin with `parameter=value`".to_owned()
            } else {
                format!("missing `=` after the value of `{previous}`; a value with a blank needs single quotes")
            }));
        };
        // A password with a blank and no quotes reads as a parameter of its own: do not show it as one.
        let name = known(name).map_err(|e| {
            if previous == "password" {
                usage("unknown parameter after the password (not shown: a password with a blank needs single quotes)")
            } else {
                e
            }
        })?;
        let (value, tail) = parse_value(tail.trim_start_matches(is_blank))
            .ok_or_else(|| usage(format!("the quoted value of `{name}` has no closing quote")))?;
        insert(&mut params, name, &value)?;
        previous = name;
        rest = tail.trim_start_matches(is_blank);
    }
    Ok(params)
}

/// Blanks as C's `isspace` knows them.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// One value and what follows it; `None` when a quote is not closed.
fn parse_value(text: &str) -> Option<(Zeroizing<String>, &str)> {
    let mut value = Zeroizing::new(String::new());
    let quoted = text.starts_with('\'');
    let mut chars = text.get(usize::from(quoted)..)?.chars();
    loop {
        let rest = chars.as_str();
        match chars.next() {
            None if quoted => return None,
            None => return Some((value, rest)),
            Some('\\') => value.extend(chars.next()),
            Some('\'') if quoted => return Some((value, chars.as_str())),
            Some(c) if !quoted && is_blank(c) => return Some((value, rest)),
            Some(c) => value.push(c),
        }
    }
}

/// `[user[:password]@][host][:port][/dbname][?parameters]`.
fn parse_url(text: &str) -> Result<Params, Error> {
    let mut params = Params::new();
    let (before_query, query) = text.split_once('?').unwrap_or((text, ""));
    // As libpq: user and password end at the first `@` that comes before a slash. They may hold a question mark.
    let slash = text.find('/').unwrap_or(text.len());
    let (user_info, before_query, query) = match text.get(..slash).and_then(|head| head.split_once('@')) {
        Some((user_info, _)) => {
            let rest = text.get(user_info.len() + 1..).unwrap_or_default();
            let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
            (Some(user_info), before_query, query)
        }
        None => (None, before_query, query),
    };
    let (host, path) = before_query.split_once('/').unwrap_or((before_query, ""));
    if host.contains('@') || path.contains('@') {
        return Err(usage("a user name or password in a URL with `@`, `/` or `:` in it must be percent-encoded"));
    }
    if let Some(user_info) = user_info {
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        set_decoded(&mut params, "user", user)?;
        set_decoded(&mut params, "password", password)?;
    }
    let (host, port) = split_host(host)?;
    set_decoded(&mut params, "host", host)?;
    set_decoded(&mut params, "port", port)?;
    set_decoded(&mut params, "dbname", path)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(usage("a parameter after the `?` of the URL has no `=`"));
        };
        set_from_query(&mut params, &decode(name)?, &decode(value)?)?;
    }
    Ok(params)
}

fn set_from_query(params: &mut Params, name: &str, value: &str) -> Result<(), Error> {
    if (name, value) == ("ssl", "true") {
        return insert(params, "sslmode", "require");
    }
    if let Some(setting) = name.strip_prefix("options[").and_then(|n| n.strip_suffix(']')) {
        let escaped = value.replace('\\', r"\\").replace(' ', r"\ ");
        let before = params.get("options").map(|o| format!("{} ", o.as_str())).unwrap_or_default();
        return insert(params, "options", &format!("{before}-c {setting}={escaped}"));
    }
    let name = URL_ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    insert(params, known(name)?, value)
}

/// Host and port, with the brackets of an IPv6 address taken off.
fn split_host(text: &str) -> Result<(&str, &str), Error> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) =
            rest.split_once(']').ok_or_else(|| usage("an IPv6 address in the URL has no closing `]`"))?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if rest.is_empty() => Ok((host, "")),
            None => Err(usage("unexpected text after the `]` of an IPv6 address in the URL")),
        };
    }
    Ok(text.split_once(':').unwrap_or((text, "")))
}

/// Sets a parameter that is there in the URL; an empty part is one that is left out.
fn set_decoded(params: &mut Params, name: &'static str, text: &str) -> Result<(), Error> {
    if text.is_empty() { Ok(()) } else { insert(params, name, &decode(text)?) }
}

/// Percent-decoding. A plus sign stays one, as in libpq.
fn decode(text: &str) -> Result<Zeroizing<String>, Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    while let Some(b) = rest.next() {
        if b == b'%' {
            match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => bytes.push(high * 16 + low),
                _ => {
                    return Err(usage(
                        "a `%` in the URL is not followed by two hexadecimal digits; write `%25` for it",
                    ));
                }
            }
        } else {
            bytes.push(b);
        }
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(usage("the URL's percent-encoding does not decode to UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(text: &str) -> Vec<(&'static str, String)> {
        parse(text).unwrap().into_iter().map(|(k, v)| (k, v.to_string())).collect()
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    fn pairs(expected: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        expected.iter().map(|(k, v)| (*k, (*v).to_owned())).collect()
    }

    #[test]
    fn key_value_strings_follow_libpq_in_quotes_blanks_and_backslashes() {
        assert_eq!(
            params(r"  host = db  user='o\'neil x' password=a\ b\\c dbname='' "),
            pairs(&[("dbname", ""), ("host", "db"), ("password", r"a b\c"), ("user", "o'neil x")])
        );
        assert_eq!(params("host=a host=b"), pairs(&[("host", "b")]));
    }

    #[test]
    fn a_bare_word_is_a_database() {
        assert_eq!(params("app"), pairs(&[("dbname", "app")]));
    }

    #[test]
    fn a_url_may_leave_out_any_part() {
        assert_eq!(params("postgres://"), vec![]);
        assert_eq!(params("postgresql:///app"), pairs(&[("dbname", "app")]));
        assert_eq!(params("postgresql://db"), pairs(&[("host", "db")]));
        assert_eq!(params("postgresql://me@db?sslmode=require"), {
            pairs(&[("host", "db"), ("sslmode", "require"), ("user", "me")])
        });
    }

    #[test]
    fn a_url_is_percent_decoded_in_every_part() {
        assert_eq!(
            params("postgresql://m%40e:p%3A%2Fw@[::1]:5433/a%20b?application_name=x+y%26z"),
            pairs(&[
                ("application_name", "x+y&z"),
                ("dbname", "a b"),
                ("host", "::1"),
                ("password", "p:/w"),
                ("port", "5433"),
                ("user", "m@e")
            ])
        );
        assert_eq!(params("postgres://me:wh?y@db/a").iter().find(|p| p.0 == "password").unwrap().1, "wh?y");
    }

    #[test]
    fn a_socket_directory_comes_from_the_host_part_or_the_query() {
        assert_eq!(params("postgres://%2Fvar%2Frun/app"), pairs(&[("dbname", "app"), ("host", "/var/run")]));
        assert_eq!(params("postgres:///app?host=/var/run"), pairs(&[("dbname", "app"), ("host", "/var/run")]));
    }

    #[test]
    fn spellings_of_other_drivers_are_understood_in_a_url() {
        assert_eq!(
            params("postgres://db?ssl-mode=disable&options[work_mem]=1MB&options[DateStyle]=ISO, MDY"),
            pairs(&[("host", "db"), ("options", r"-c work_mem=1MB -c DateStyle=ISO,\ MDY"), ("sslmode", "disable")])
        );
        assert_eq!(params("postgres://?ssl=true"), pairs(&[("sslmode", "require")]));
    }

    #[test]
    fn an_unknown_parameter_is_named_with_the_nearest_known_one() {
        assert_eq!(
            message("databse=x usr=y"),
            "unknown connection parameter `databse`; they are listed in libpq's documentation"
        );
        assert!(message("usr=y").contains("`usr`; did you mean `user`?"));
        assert!(message("postgres://db/x?sslmod=require").contains("did you mean `sslmode`?"));
    }

    #[test]
    fn no_message_shows_a_piece_of_a_password() {
        for text in [
            "host=db password=ab hunter2",
            "host=db password=ab hunter2=c user=x",
            "host=db password='hunter2",
            "hunter2 x=",
            "postgres://me:hunter2/x@db/app",
            "postgres://me:12/hunter2@db/app",
            "postgres://me:hunter2%zz@db/app",
            "postgres://me:x@hunter2@db/app",
            "postgres://db/app?hunter2",
            "mysql://me:hunter2@db/app",
        ] {
            let message = message(text);
            assert!(!message.contains("hunter2"), "{text}: {message}");
        }
    }

    #[test]
    fn broken_urls_are_refused() {
        for text in
            ["postgres://[::1/app", "postgres://[::1]x/app", "postgres://a%0/app", "postgres://a%00/app", "x://y"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
