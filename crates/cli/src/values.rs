//! Arguments and results of `run --invoke`, as text.

use anyhow::{Context as _, Result, bail, ensure};
use stillframe::{FuncType, Val, ValType};

/// Reads arguments for a function of type `ty`.
pub(crate) fn parse_args(ty: &FuncType, args: &[&str]) -> Result<Vec<Val>> {
    let expected = ty.params().len();
    ensure!(
        args.len() == expected,
        "the function is {ty}: it takes {expected} argument{}, and {} given",
        if expected == 1 { "" } else { "s" },
        match args.len() {
            1 => "1 is".to_string(),
            n => format!("{n} are"),
        },
    );
    let parse = |(at, (ty, text)): (usize, (&ValType, &&str))| {
        parse(*ty, text).with_context(|| format!("argument {}: {text:?} is no {ty}", at + 1))
    };
    ty.params().iter().zip(args).enumerate().map(parse).collect()
}

fn parse(ty: ValType, text: &str) -> Result<Val> {
    Ok(match ty {
        // Unsigned values are taken too: wasm's integers are both.
        ValType::I32 => match integer(text)? {
            value @ -0x8000_0000..=0xffff_ffff => Val::I32(value as i32),
            _ => bail!("it does not fit 32 bits"),
        },
        ValType::I64 => match integer(text)? {
            value @ -0x8000_0000_0000_0000..=0xffff_ffff_ffff_ffff => Val::I64(value as i64),
            _ => bail!("it does not fit 64 bits"),
        },
        ValType::F32 => Val::F32(text.parse::<f32>()?.to_bits()),
        ValType::F64 => Val::F64(text.parse::<f64>()?.to_bits()),
        ValType::V128 => {
            let value = match text.strip_prefix("0x") {
                Some(digits) => u128::from_str_radix(digits, 16)?,
                None => text.parse::<u128>()?,
            };
            Val::V128(value.into())
        }
        ValType::FuncRef if text == "null" => Val::FuncRef(None),
        ValType::ExternRef if text == "null" => Val::ExternRef(None),
        ValType::ExnRef if text == "null" => Val::ExnRef(None),
        ValType::FuncRef | ValType::ExternRef | ValType::ExnRef => {
            bail!("the only reference known here is null")
        }
    })
}

fn integer(text: &str) -> Result<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    ensure!(!digits.starts_with(['+', '-']), "two signs");
    let magnitude = match digits.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16)?,
        None => digits.parse::<i128>()?,
    };
    Ok(sign * magnitude)
}

/// A result, as it is printed.
pub(crate) fn show(value: &Val) -> String {
    match value {
        Val::I32(value) => value.to_string(),
        Val::I64(value) => value.to_string(),
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        Val::V128(value) => format!("{:#034x}", value.as_u128()),
        Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None) => "null".to_string(),
        Val::FuncRef(Some(_)) => "funcref".to_string(),
        Val::ExternRef(Some(_)) => "externref".to_string(),
        Val::ExnRef(Some(_)) => "exnref".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(ty: ValType, text: &str) -> Result<String> {
        let ty = FuncType::new([ty], []);
        Ok(show(&parse_args(&ty, &[text])?[0]))
    }

    #[test]
    fn integers_are_signed_unsigned_or_hexadecimal() {
        assert_eq!(one(ValType::I32, "-1").unwrap(), "-1");
        assert_eq!(one(ValType::I32, "4294967295").unwrap(), "-1");
        assert_eq!(one(ValType::I32, "0x10").unwrap(), "16");
        assert_eq!(one(ValType::I64, "-0x8000000000000000").unwrap(), i64::MIN.to_string());
        for bad in ["", "x", "4294967296", "--1", "1.0", "0x", "-2147483649"] {
            assert!(one(ValType::I32, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn floats_vectors_and_null_are_read_and_shown() {
        assert_eq!(one(ValType::F64, "-2.5e3").unwrap(), "-2500");
        assert_eq!(one(ValType::F32, "NaN").unwrap(), "NaN");
        assert_eq!(one(ValType::V128, "0xff").unwrap(), format!("0x{:032x}", 255));
        assert_eq!(one(ValType::ExternRef, "null").unwrap(), "null");
        assert!(one(ValType::FuncRef, "0").is_err());
    }

    #[test]
    fn errors_name_the_argument_and_its_type() {
        let ty = FuncType::new([ValType::I32, ValType::F32], []);
        let error = parse_args(&ty, &["1", "two"]).unwrap_err().to_string();
        assert_eq!(error, "argument 2: \"two\" is no f32");
        let error = parse_args(&ty, &["1"]).unwrap_err().to_string();
        assert!(error.ends_with("it takes 2 arguments, and 1 is given"), "{error}");
    }
}
