//! Values of modules. What they mean only the module knows, but since Redis 4.0 each part carries a code that tells its
//! kind, so they can be passed over without the module.

use std::io::Read;

use super::source::{Fault, Outcome, Source};

impl<R: Read> Source<R> {
    /// Passes over a module's value, up to and with its end mark.
    pub(super) fn skip_module_value(&mut self) -> Outcome<()> {
        loop {
            let at = self.offset();
            match self.number()? {
                0 => return Ok(()),
                1 | 2 => {
                    self.number()?;
                }
                3 => self.skip(4)?,
                4 => self.skip(8)?,
                5 => {
                    self.measure()?;
                }
                code => return Err(Fault::Unknown { at, what: "part of a module's value", code }),
            }
        }
    }
}

/// The name that a module's type number stands for: nine characters of six bits each, before ten bits of version.
pub(super) fn type_name(id: u64) -> String {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9)
        .map(|place| {
            let index = (id >> (58 - 6 * place)) & 63;
            CHARACTERS.get(index as usize).map_or('?', |&byte| char::from(byte))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_number_reads_as_the_modules_name() {
        // As RedisJSON registers itself, in version 3 of its encoding.
        let id = b"ReJSON-RL".iter().fold(0u64, |id, byte| {
            let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            id << 6 | digits.iter().position(|digit| digit == byte).unwrap() as u64
        });
        assert_eq!(type_name(id << 10 | 3), "ReJSON-RL");
    }
}
