//! Expressions of `\set` and `\sleep`: whole numbers, variables, `+ - * / %`, parentheses, and a few functions.

use crate::random::Random;

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// A number.
    Number(i64),
    /// A variable, by number.
    Variable(usize),
    /// The negative of another.
    Negative(Box<Expression>),
    /// Two, and what is between them.
    Pair(Operator, Box<(Expression, Expression)>),
    /// The positive of another.
    Absolute(Box<Expression>),
}

/// What is between two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `*`
    Times,
    /// `/`, towards zero
    Over,
    /// `%` and `mod(a, b)`, with the sign of the first
    Modulo,
    /// `least(a, b)`
    Least,
    /// `greatest(a, b)`
    Greatest,
    /// `random(a, b)`: any number from the first to the second, both included
    Random,
}

impl Expression {
    /// Reads one; `find` knows variables by name.
    ///
    /// # Errors
    /// What is wrong.
    pub fn parse(text: &str, find: &dyn Fn(&str) -> Result<usize, String>) -> Result<Self, String> {
        let mut reader = Reader { rest: text.trim(), find, depth: 0 };
        let found = reader.sum()?;
        if reader.rest.is_empty() { Ok(found) } else { Err(format!("{:?} does not belong there", reader.rest)) }
    }

    /// Its value.
    ///
    /// # Errors
    /// It has none.
    pub fn value(&self, variables: &[i64], random: &mut Random) -> Result<i64, &'static str> {
        let too_large = "the number is too large";
        match self {
            Expression::Number(number) => Ok(*number),
            Expression::Variable(index) => Ok(variables.get(*index).copied().unwrap_or_default()),
            Expression::Negative(inner) => inner.value(variables, random)?.checked_neg().ok_or(too_large),
            Expression::Absolute(inner) => inner.value(variables, random)?.checked_abs().ok_or(too_large),
            Expression::Pair(operator, pair) => {
                let (first, second) = (pair.0.value(variables, random)?, pair.1.value(variables, random)?);
                match operator {
                    Operator::Plus => first.checked_add(second).ok_or(too_large),
                    Operator::Minus => first.checked_sub(second).ok_or(too_large),
                    Operator::Times => first.checked_mul(second).ok_or(too_large),
                    Operator::Over => first.checked_div(second).ok_or("it divides by zero"),
                    Operator::Modulo => first.checked_rem(second).ok_or("it divides by zero"),
                    Operator::Least => Ok(first.min(second)),
                    Operator::Greatest => Ok(first.max(second)),
                    Operator::Random if first > second => Err("the range of random() is empty"),
                    Operator::Random => {
                        let size = second.abs_diff(first).saturating_add(1);
                        Ok(first.wrapping_add_unsigned(random.below(size)))
                    }
                }
            }
        }
    }
}

/// Parentheses within parentheses: more are a mistake.
const DEEPEST: usize = 100;

struct Reader<'a> {
    rest: &'a str,
    find: &'a dyn Fn(&str) -> Result<usize, String>,
    depth: usize,
}

impl Reader<'_> {
    fn takes(&mut self, sign: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(sign) else { return false };
        self.rest = rest.trim_start();
        true
    }

    fn needs(&mut self, sign: &str) -> Result<(), String> {
        if self.takes(sign) { Ok(()) } else { Err(format!("{sign:?} is missing before {:?}", self.rest)) }
    }

    fn sum(&mut self) -> Result<Expression, String> {
        let mut left = self.product()?;
        loop {
            let operator = if self.takes("+") {
                Operator::Plus
            } else if self.takes("-") {
                Operator::Minus
            } else {
                return Ok(left);
            };
            left = Expression::Pair(operator, Box::new((left, self.product()?)));
        }
    }

    fn product(&mut self) -> Result<Expression, String> {
        let mut left = self.factor()?;
        loop {
            let operator = if self.takes("*") {
                Operator::Times
            } else if self.takes("/") {
                Operator::Over
            } else if self.takes("%") {
                Operator::Modulo
            } else {
                return Ok(left);
            };
            left = Expression::Pair(operator, Box::new((left, self.factor()?)));
        }
    }

    fn factor(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("it is nested too deeply".to_owned());
        }
        let found = self.inner();
        self.depth -= 1;
        found
    }

    fn inner(&mut self) -> Result<Expression, String> {
        if self.takes("-") {
            return Ok(Expression::Negative(Box::new(self.factor()?)));
        }
        if self.takes("(") {
            let inside = self.sum()?;
            self.needs(")")?;
            return Ok(inside);
        }
        let is_variable = self.takes(":");
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        if rest.starts_with('.') {
            return Err("only whole numbers are known here".to_owned());
        }
        self.rest = rest.trim_start();
        if is_variable {
            return Ok(Expression::Variable((self.find)(word)?));
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word.parse().map(Expression::Number).map_err(|_| format!("{word} is no whole number"));
        }
        if word == "abs" {
            self.needs("(")?;
            let inside = self.sum()?;
            self.needs(")")?;
            return Ok(Expression::Absolute(Box::new(inside)));
        }
        let operator = match word {
            "random" => Operator::Random,
            "least" => Operator::Least,
            "greatest" => Operator::Greatest,
            "mod" => Operator::Modulo,
            "" => return Err("a number is missing".to_owned()),
            _ => return Err(format!("{word} is not known here: random, abs, least, greatest and mod are")),
        };
        self.needs("(")?;
        let first = self.sum()?;
        self.needs(",")?;
        let second = self.sum()?;
        self.needs(")")?;
        Ok(Expression::Pair(operator, Box::new((first, second))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<i64, String> {
        let find = |name: &str| if name == "scale" { Ok(0) } else { Err(format!("no {name}")) };
        let expression = Expression::parse(text, &find)?;
        expression.value(&[7], &mut Random::new(1)).map_err(str::to_owned)
    }

    #[test]
    fn they_are_worked_out_as_usual() {
        for (text, expected) in [
            ("1 + 2 * 3", 7),
            ("(1+2)*3", 9),
            ("100000 * :scale", 700_000),
            ("10 - 2 - 3", 5),
            ("-7 / 2", -3),
            ("-7 % 2", -1),
            ("--5", 5),
            ("mod(7, 4) + abs(-3)", 6),
            ("least(3, :scale) + greatest(1, 2)", 5),
            ("random(5, 5)", 5),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn random_numbers_keep_within_both_ends() {
        let expression = Expression::parse("random(-2, 2)", &|_| Err(String::new())).unwrap();
        let mut random = Random::new(5);
        let seen: std::collections::BTreeSet<i64> =
            (0..1000).map(|_| expression.value(&[], &mut random).unwrap()).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2]);
        assert!(value(&format!("random({}, {})", i64::MIN + 1, i64::MAX)).is_ok());
    }

    #[test]
    fn what_has_no_value_says_so() {
        for text in [
            "",
            "1 +",
            "(1",
            "1)",
            "1 2",
            "random(1)",
            "random(2, 1)",
            "1 / 0",
            "1 % (1 - 1)",
            "9223372036854775807 + 1",
            "99999999999999999999",
            ":nobody",
            "sqrt(4)",
            "1.5",
            "'a'",
        ] {
            assert!(value(text).is_err(), "{text}");
        }
        assert!(value(&"(".repeat(100_000)).is_err());
    }
}
