//! Directories of certbot: one that certbot itself made, and ones made by hand exactly as it makes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testbed::acme::certbot;
use testbed::{Pebble, run};

use super::{cert_rotate, codes, done, ends, mode, sh};

/// A directory of certbot's with two certificates: `a.test` with the generations 2, 3 and 4, of which 3 is live, and
/// `b.test` with one.
const TREE: &str = "umask 077; mkdir -p le/live le/renewal le/archive; echo 'This directory' > le/live/README
    one() { d=le/archive/$1; mkdir -p $d le/live/$1
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $d/privkey$2.pem -subj /CN=$1 \
            -addext subjectAltName=DNS:$1,DNS:www.$1 -out $d/cert$2.pem -days $((30 + $2)) 2>/dev/null
        cp ca.pem $d/chain$2.pem; cat $d/cert$2.pem $d/chain$2.pem > $d/fullchain$2.pem; }
    live() { for f in cert chain fullchain privkey; do ln -sfn ../../archive/$1/$f$2.pem le/live/$1/$f.pem; done
        printf 'version = 5.8.0\\narchive_dir = /x\\n[renewalparams]\\naccount = 12\\nauthenticator = webroot\\nwebroot_path = /srv,\\n' \
            > le/renewal/$1.conf
        echo 'server = https://acme.test/directory' >> le/renewal/$1.conf; }
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -subj /CN=ca -out ca.pem 2>/dev/null
    one a.test 2; one a.test 3; one a.test 4; live a.test 3; one b.test 1; live b.test 1; chmod 0640 le/archive/a.test/privkey3.pem";

/// A copy of all of it.
fn copy(tree: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    sh(tree, &format!("cp -a . {}", dir.path().display()));
    dir
}

/// Everything below a directory: files by content, links by target.
fn state(dir: &Path) -> BTreeMap<PathBuf, String> {
    let listed = sh(
        dir,
        "find . -type f -printf '%p f ' -exec sha256sum {} \\; -o -type l -printf '%p l %l\\n' -o -printf '%p d\\n'",
    );
    listed.lines().filter_map(|line| line.split_once(' ')).map(|(path, what)| (path.into(), what.to_owned())).collect()
}

fn steps(records: &[Value]) -> Vec<&Value> {
    records.iter().filter(|record| record["type"] != "maint.finding.v1").map(|record| &record["data"]).collect()
}

/// What a server would read through certbot's paths is a certificate with its key.
#[track_caller]
fn holds(dir: &Path, name: &str) -> String {
    let script = format!(
        "cd le/live/{name}; diff <(openssl x509 -in fullchain.pem -noout -pubkey) <(openssl pkey -in privkey.pem -pubout)
         cmp <(cat cert.pem chain.pem) fullchain.pem; openssl x509 -in cert.pem -noout -fingerprint -sha256"
    );
    sh(dir, &script)
}

#[test]
fn a_directory_is_taken_over_with_every_generation_and_its_paths_stay() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sh(dir, TREE);
    let (before, fingerprints) = (state(dir), [holds(dir, "a.test"), holds(dir, "b.test")]);
    let plan = ends(dir, 0, &["import", "certbot", "le", "--dry-run"]);
    assert_eq!(steps(&plan)[0]["message"], "3 generations to copy, 2 to be live, 4 links to switch");
    assert_eq!(state(dir), before);

    let records = ends(dir, 0, &["import", "certbot", "le"]);
    let of_a = steps(&records)[0];
    assert_eq!((&of_a["generation"], &of_a["certbot_generations"]), (&2.into(), &serde_json::json!([2, 3, 4])));
    assert_eq!([holds(dir, "a.test"), holds(dir, "b.test")], fingerprints);
    let target = std::fs::read_link(dir.join("le/live/a.test/privkey.pem")).unwrap();
    assert_eq!(target, dir.join("ours/live/a.test/privkey.pem"));
    assert_eq!(std::fs::read_link(dir.join("ours/live/a.test")).unwrap(), Path::new("../archive/a.test/2"));
    for (number, old) in [(1, 2), (2, 3), (3, 4)] {
        sh(dir, &format!("cmp ours/archive/a.test/{number}/fullchain.pem le/archive/a.test/fullchain{old}.pem"));
    }
    let modes = [1, 2].map(|number| mode(&dir.join(format!("ours/archive/a.test/{number}/privkey.pem"))));
    assert_eq!(modes, [0o600, 0o640]);

    // Again: nothing to do, and the links stay as they are.
    let taken = state(&dir.join("le"));
    let again = ends(dir, 0, &["import", "certbot", "le"]);
    assert!(steps(&again).iter().all(|data| data["message"].as_str().unwrap().starts_with("nothing to do")));
    assert_eq!(state(&dir.join("le")), taken);

    // What is switched by us is seen through certbot's paths.
    let toml = records.iter().filter_map(|record| record["data"]["toml"].as_str()).take(1).collect::<String>();
    std::fs::write(dir.join("certs.toml"), &toml).unwrap();
    let output = run(&mut cert_rotate(dir, &["--certs", "certs.toml", "rollback", "a.test", "1"])).unwrap();
    assert_eq!(
        std::fs::read_link(dir.join("ours/live/a.test")).unwrap(),
        Path::new("../archive/a.test/1"),
        "{output}\n{toml}"
    );
    assert_ne!(holds(dir, "a.test"), fingerprints[0]);

    // And it can be undone as the record says.
    for data in steps(&records) {
        let undo: Vec<&str> = data["undo"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        sh(dir, &undo.join("\n"));
    }
    let certbots = |state: &BTreeMap<PathBuf, String>| {
        state
            .iter()
            .filter(|(path, _)| path.starts_with("./le"))
            .map(|(path, what)| (path.clone(), what.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(certbots(&state(dir)), certbots(&before));
}

#[test]
fn one_that_does_not_hold_stops_all_before_anything_is_touched() {
    let tree = tempfile::tempdir().unwrap();
    sh(tree.path(), TREE);
    for (damage, says) in [
        ("cp le/archive/b.test/privkey1.pem le/archive/a.test/privkey3.pem", "a.test: the private key of generation 3"),
        ("cp le/archive/b.test/privkey1.pem le/archive/a.test/privkey2.pem", "a.test: the private key of generation 2"),
        ("rm le/archive/a.test/chain4.pem", "chain4.pem"),
        (
            "ln -sfn ../../archive/a.test/cert4.pem le/live/a.test/cert.pem",
            "a.test: its links point to different generations",
        ),
        ("rm le/live/b.test/privkey.pem", "b.test: there is no"),
        ("cp --remove-destination le/archive/b.test/cert1.pem le/live/b.test/cert.pem", "b.test: "),
        ("ln -sfn ../../archive/a.test/cert3.pem le/live/b.test/cert.pem", "b.test: "),
        ("sed -i 4d le/archive/b.test/cert1.pem", "b.test: "),
        ("cp le/archive/a.test/chain2.pem le/archive/a.test/fullchain2.pem", "fullchain2.pem is not cert and chain"),
        ("rm -r le/archive/b.test", "b.test: "),
        (
            "mv le/live/b.test 'le/live/b test'; mv le/archive/b.test 'le/archive/b test'",
            "b test: its name cannot be used",
        ),
        (
            "mkdir -p ours/archive/a.test/1; for f in cert chain fullchain privkey; do cp le/archive/b.test/${f}1.pem \
          ours/archive/a.test/1/$f.pem; done",
            "a.test: there is a certificate of that name",
        ),
        ("rm -r le/live", "no directory of certbot's"),
    ] {
        let dir = copy(tree.path());
        let dir = dir.path();
        sh(dir, damage);
        let before = state(dir);
        let output = done(dir, &["import", "certbot", "le"]);
        assert!(matches!(output.code, 2 | 3), "{damage}: {output}");
        assert!(output.stderr.contains(says), "{damage}: {output}");
        assert_eq!(state(dir), before, "{damage}");
    }
}

#[test]
fn a_takeover_that_is_killed_anywhere_is_finished_by_the_next() {
    let tree = tempfile::tempdir().unwrap();
    sh(tree.path(), TREE);
    for point in [
        "generation-file:3",
        "generation-written:2",
        "generation-named:1",
        "generation-named:3",
        "link-made",
        "link-switched",
        "import-link:1",
        "import-link:3",
        "import-link:4",
        "import-link:5",
    ] {
        let dir = copy(tree.path());
        let dir = dir.path();
        let fingerprints = [holds(dir, "a.test"), holds(dir, "b.test")];
        let killed = run(cert_rotate(dir, &["import", "certbot", "le"]).env("MAINT_KILL_AT", point)).unwrap();
        assert_eq!(killed.code, 137, "{point}: {killed}");
        // At every moment servers have what they had.
        assert_eq!([holds(dir, "a.test"), holds(dir, "b.test")], fingerprints, "{point}");
        ends(dir, 0, &["import", "certbot", "le"]);
        assert_eq!([holds(dir, "a.test"), holds(dir, "b.test")], fingerprints, "{point}");
        assert_eq!(
            sh(dir, "ls ours/archive/a.test; ls -A le/live/a.test; readlink ours/live/a.test"),
            "1\n2\n3\ncert.pem\nchain.pem\nfullchain.pem\nprivkey.pem\n../archive/a.test/2\n",
            "{point}"
        );
    }
}

#[test]
fn what_certbot_itself_made_is_taken_over_and_renewed() {
    let server = Pebble::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let order = |more: &[&str]| {
        let mut command = certbot(dir, server.ca()).unwrap();
        command.args(["certonly", "--standalone", "--http-01-address", "127.0.0.1", "--http-01-port"]);
        command.args([&server.http_port().to_string(), "--server", &server.directory(), "--agree-tos"]);
        command.args([
            "--email",
            "ops@example.test",
            "--no-eff-email",
            "-d",
            "www.example.test",
            "--deploy-hook",
            "true",
        ]);
        let output = run(command.args(more)).unwrap();
        assert_eq!(output.code, 0, "{output}");
    };
    order(&[]);
    order(&["--force-renewal"]);
    sh(dir, "mv config le");
    let fingerprint = holds(dir, "www.example.test");
    let records = ends(dir, 0, &["import", "certbot", "le"]);
    assert_eq!(steps(&records)[0]["certbot_generations"], serde_json::json!([1, 2]));
    assert_eq!(holds(dir, "www.example.test"), fingerprint);
    assert!(codes(&records).contains(&"description"));
    // The description that was told renews it; it lacks only whom to trust, which certbot took from its environment.
    let toml = records.iter().find_map(|record| record["data"]["toml"].as_str()).unwrap();
    let trust = format!("ca_file = {:?}\nroots = {:?}\nchallenge", server.ca(), server.root(0).unwrap());
    std::fs::write(dir.join("certs.toml"), toml.replacen("challenge", &trust, 1)).unwrap();
    let output =
        run(&mut cert_rotate(dir, &["--certs", "certs.toml", "rotate", "--force", "www.example.test"])).unwrap();
    assert_ne!(holds(dir, "www.example.test"), fingerprint, "{output}\n{toml}");
    assert_eq!(
        std::fs::read_link(dir.join("ours/live/www.example.test")).unwrap(),
        Path::new("../archive/www.example.test/3")
    );
}
