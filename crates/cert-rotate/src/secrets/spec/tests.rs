use super::*;

const WHOLE: &str = r#"
[secrets.database]
kind = "pg-scram"
length = 40
max_age = "90d"
destinations = [
  { env = "/srv/app/.env", key = "DB_PASSWORD", mode = "0640", group = "0" },
  { file = "/srv/db/verifier", form = "verifier" },
]
apply = { postgresql = { role = "app", dsn = "host=/run/postgresql" } }
reload = ["systemctl", "reload", "app"]

[secrets.tokens]
kind = "jwt-es256"
destinations = [
  { file = "/srv/app/jwt.pem" },
  { jwks = "/srv/www/jwks.json" },
]
apply = { jwt = { overlap = "24h" } }

[secrets.session]
kind = "hex"
bytes = 32
destinations = [{ env = "/srv/app/.env", key = "SESSION_KEY", mode = "0640", group = "0" }]
"#;

fn load(text: &str) -> Result<Spec, Failure> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets.toml");
    std::fs::write(&path, text).unwrap();
    Spec::load(&path)
}

#[track_caller]
fn refused(from: &str, to: &str, why: &str) {
    assert!(WHOLE.contains(from), "{from}");
    let message = load(&WHOLE.replacen(from, to, 1)).unwrap_err().message;
    assert!(message.contains(why), "{message}");
}

#[test]
fn a_whole_file_is_read() {
    let spec = load(WHOLE).unwrap();
    let database = &spec.secrets["database"];
    assert!(matches!(database.recipe, Recipe::Password { length: 40, .. }));
    assert_eq!(database.destinations[0].wish, Wish { mode: Some(0o640), user: None, group: Some(0) });
    assert!(matches!(&database.apply, Apply::Postgres(postgres) if postgres.roles == ["app"]));
    assert_eq!(spec.secrets["tokens"].destinations[1].form, Form::Jwks);
    assert_eq!(spec.choose(&["session".to_owned()]).unwrap().len(), 1);
    assert!(spec.choose(&["sesion".to_owned()]).unwrap_err().message.contains("did you mean `session`?"));
}

#[test]
fn unknown_keys_are_named_with_their_line() {
    refused("length = 40", "lenght = 40", "secrets.toml:4: unknown key `lenght` in [secrets.database]; did you mean");
    refused(
        "mode = \"0640\"",
        "mod = \"0640\"",
        "secrets.toml:7: [secrets.database] destinations: unknown field `mod`",
    );
    refused("role = \"app\"", "rol = \"app\"", "unknown field `rol`");
    refused("[secrets.tokens]", "[secret.tokens]", "did you mean `secrets`?");
}

#[test]
fn what_cannot_be_carried_out_is_refused_before_anything_is_done() {
    refused("length = 40", "length = 8", "48 bits");
    refused("length = 40", "bytes = 40", "has no meaning");
    refused("bytes = 32", "bytes = 8", "from 16 to 4096");
    refused("mode = \"0640\"", "mode = \"0644\"", "every user of this host");
    refused("mode = \"0640\"", "mode = \"0660\"", "nobody else writes");
    refused("key = \"SESSION_KEY\", mode = \"0640\"", "key = \"SESSION_KEY\", mode = \"0600\"", "another mode");
    refused("key = \"SESSION_KEY\"", "key = \"DB_PASSWORD\"", "is written already by [secrets.database]");
    refused("key = \"SESSION_KEY\"", "key = \"SESSION KEY\"", "no name of a variable");
    refused("\"/srv/app/jwt.pem\"", "\"jwt.pem\"", "no absolute path");
    refused("\"/srv/app/jwt.pem\"", "\"/srv/app/.env\"", "is written already");
    refused("{ jwks = \"/srv/www/jwks.json\" },", "", "there is no JWKS");
    refused("{ file = \"/srv/app/jwt.pem\" }", "{ env = \"/srv/j\", key = \"K\" }", "several lines");
    refused("kind = \"hex\"", "kind = \"random\"", "no text");
    refused("overlap = \"24h\"", "overlap = \"1s\"", "two seconds");
    refused("kind = \"jwt-es256\"", "kind = \"hex\"", "only keys of kind jwt-*");
    refused("role = \"app\"", "roles = [\"a\", \"a\"]", "two different");
    refused("role = \"app\"", "roles = [\"a\", \"b\"]", "change together");
    refused("{ file = \"/srv/db/verifier\", form = \"verifier\" }", "{ form = \"verifier\" }", "give one of env");
    refused("reload = [\"systemctl\", \"reload\", \"app\"]", "reload = []", "names no program");
    refused("[secrets.session]", "[secrets.'../session']", "a name is made of");
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets.toml");
    std::fs::write(&path, WHOLE).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(Spec::load(&path).unwrap_err().message.contains("others may write it"));
}
