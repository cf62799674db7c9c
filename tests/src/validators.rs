//! Other people's judges of documents: whether a SARIF log and a CycloneDX bill are what their standards want.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Doing, Error, Result};
use crate::setup::{cached, program, step};
use crate::tool::{clean, run};

const MULTITOOL: &str = "sarif-multitool-linux-5.7.0";
const CYCLONEDX: &str = "cyclonedx-python-lib[json-validation]==11.12.0";

const VALIDATE: &str = "import sys\n\
    from cyclonedx.schema import SchemaVersion\n\
    from cyclonedx.validation.json import JsonStrictValidator\n\
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())\n\
    print(found or '', end='')";

/// Everything that Microsoft's SARIF Multitool has to say against a file: errors and warnings.
pub fn sarif(file: &Path) -> Result<Vec<String>> {
    let program = multitool()?.join("Sarif.Multitool");
    let answer = file.with_extension("judged.sarif");
    let mut command = Command::new(program);
    clean(&mut command);
    // Without it the program asks for a library of languages that has nothing to do with its work.
    command.env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1").arg("validate").arg(file);
    command.args(["--log", "ForceOverwrite", "--level", "Error;Warning", "--output"]).arg(&answer);
    let output = run(&mut command)?;
    let failed = |why: String| Error::Failed { what: format!("judging {}", file.display()), why };
    let text = std::fs::read_to_string(&answer).map_err(|error| failed(format!("{error}: {output}")))?;
    let log: serde_json::Value = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let results = log["runs"][0]["results"].as_array().ok_or_else(|| failed(format!("no results: {text}")))?;
    Ok(results.iter().map(|result| format!("{} {}", result["ruleId"], result["message"])).collect())
}

/// What the strict validator of the CycloneDX project's Python library says against a file, by the schema of 1.6.
pub fn cyclonedx(file: &Path) -> Result<String> {
    let packages = cached("cyclonedx-python-lib-11.12.0", |work| {
        let what = "fetching the CycloneDX validator with pip";
        let mut pip = Command::new(program("python3-pip")?);
        pip.args(["install", "--quiet", "--only-binary=:all:", "--target", "ready", CYCLONEDX]);
        step(what, work, &mut pip)?;
        step(what, work, Command::new("chmod").args(["-R", "a+rX", "ready"]))?;
        Ok(work.join("ready"))
    })?;
    let mut command = Command::new("python3");
    clean(&mut command);
    let output = run(command.env("PYTHONPATH", packages).args(["-c", VALIDATE]).arg(file))?;
    if output.code != 0 {
        return Err(Error::Failed { what: format!("judging {}", file.display()), why: output.stderr });
    }
    Ok(output.stdout)
}

fn multitool() -> Result<PathBuf> {
    cached(MULTITOOL, |work| {
        let what = "fetching the SARIF Multitool with npm pack";
        let name = "@microsoft/sarif-multitool-linux@5.7.0";
        step(what, work, Command::new(program("npm")?).args(["pack", "--silent", name]))?;
        step(what, work, Command::new("sh").args(["-c", "tar xzf ./*.tgz --no-same-owner && rm ./*.tgz"]))?;
        step(what, work, Command::new("sh").args(["-c", "chmod +x package/Sarif.Multitool && chmod -R a+rX package"]))?;
        let package = work.join("package");
        package.join("Sarif.Multitool").metadata().doing(|| "find Sarif.Multitool in its package".to_owned())?;
        Ok(package)
    })
}
