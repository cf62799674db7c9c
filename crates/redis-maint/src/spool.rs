//! A plan on its way from looking to doing, kept in a file without a name: it may hold millions of steps, and memory
//! must not grow with them. The file is gone with the process.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};

use maint_core::failure::Failure;

use crate::step::Step;

/// Steps, written in order.
pub struct Spool {
    file: BufWriter<File>,
    steps: u64,
}

impl Spool {
    /// An empty one, in the directory for temporary files.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn new() -> Result<Self, Failure> {
        let file = tempfile::tempfile().map_err(|error| failed(&error))?;
        Ok(Spool { file: BufWriter::new(file), steps: 0 })
    }

    /// Adds a step.
    ///
    /// # Errors
    /// The disk is full, say.
    pub fn push(&mut self, step: &Step) -> Result<(), Failure> {
        let line = serde_json::to_string(step).map_err(|error| Failure::critical(error.to_string()))?;
        self.file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.write_all(b"\n"))
            .map_err(|error| failed(&error))?;
        self.steps += 1;
        Ok(())
    }

    /// Steps in it.
    pub fn len(&self) -> u64 {
        self.steps
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.steps == 0
    }

    /// Forgets all steps: what they were made from has to be looked at anew.
    ///
    /// # Errors
    /// The file cannot be cut.
    pub fn clear(&mut self) -> Result<(), Failure> {
        let cut = |file: &mut BufWriter<File>| -> io::Result<()> {
            file.flush()?;
            file.seek(SeekFrom::Start(0))?;
            file.get_ref().set_len(0)
        };
        self.steps = 0;
        cut(&mut self.file).map_err(|error| failed(&error))
    }

    /// The steps, from the first.
    ///
    /// # Errors
    /// The file cannot be read back.
    pub fn into_reader(self) -> Result<Reader, Failure> {
        let mut file = self.file.into_inner().map_err(|error| failed(error.error()))?;
        file.seek(SeekFrom::Start(0)).map_err(|error| failed(&error))?;
        Ok(Reader { lines: BufReader::new(file) })
    }
}

/// Reads steps back.
pub struct Reader {
    lines: BufReader<File>,
}

impl Reader {
    /// The next `most` steps; none when there are no more.
    ///
    /// # Errors
    /// The file cannot be read back.
    pub fn take(&mut self, most: usize) -> Result<Vec<Step>, Failure> {
        let mut steps = Vec::new();
        let mut line = String::new();
        while steps.len() < most {
            line.clear();
            if self.lines.read_line(&mut line).map_err(|error| failed(&error))? == 0 {
                break;
            }
            steps.push(serde_json::from_str(&line).map_err(|error| failed(&error.into()))?);
        }
        Ok(steps)
    }
}

fn failed(error: &io::Error) -> Failure {
    Failure::critical(format!(
        "cannot keep the plan in a temporary file: {error}; nothing was changed by what is left of it"
    ))
    .hint("free some space in TMPDIR, or set TMPDIR to a directory that has it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Action;
    use crate::step::tests::step;

    #[test]
    fn steps_come_back_in_order_and_a_cleared_spool_is_empty() {
        let mut spool = Spool::new().unwrap();
        spool.push(&step(Action::Delete, b"old")).unwrap();
        spool.clear().unwrap();
        for number in 0..10u8 {
            spool.push(&step(Action::Delete, &[b'\xff', number])).unwrap();
        }
        assert_eq!(spool.len(), 10);
        let mut reader = spool.into_reader().unwrap();
        assert_eq!(reader.take(7).unwrap().len(), 7);
        let rest = reader.take(7).unwrap();
        assert_eq!(rest.last().unwrap().key_bytes(), b"\xff\x09");
        assert!(reader.take(7).unwrap().is_empty());
    }
}
