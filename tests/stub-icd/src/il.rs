//! The intermediate language: SPIR-V's magic number, then source text in which `${ID:DEFAULT}` stands for a
//! specialization constant, a `uint`.

use std::collections::BTreeMap;

/// First word of a SPIR-V module (SPIR-V specification, section 3.1), in the host's order.
const MAGIC: u32 = 0x0723_0203;

/// Constants by id.
pub type Constants = BTreeMap<u32, u32>;

/// The text of a module; `None` if it is none.
pub fn read(module: &[u8]) -> Option<String> {
    let text = module.strip_prefix(&MAGIC.to_ne_bytes())?;
    let text = std::str::from_utf8(text).ok()?;
    specialize(text, &Constants::new()).map(|_| text.to_owned())
}

/// A module of the text.
pub fn write(text: &str) -> Vec<u8> {
    [&MAGIC.to_ne_bytes(), text.as_bytes()].concat()
}

/// Whether the text has a constant of this id.
pub fn has(text: &str, id: u32) -> bool {
    text.contains(&format!("${{{id}:"))
}

/// The text with all constants in place.
pub fn specialize(text: &str, constants: &Constants) -> Option<String> {
    let mut parts = text.split("${");
    let mut whole = parts.next()?.to_owned();
    for part in parts {
        let (constant, rest) = part.split_once('}')?;
        let (id, default) = constant.split_once(':')?;
        let value = match constants.get(&id.parse().ok()?) {
            Some(value) => *value,
            None => default.parse().ok()?,
        };
        whole.push_str(&value.to_string());
        whole.push_str(rest);
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_have_defaults_and_values() {
        let module = write("a ${7:4} b ${8:1}");
        let text = read(&module).unwrap();
        assert!(has(&text, 7) && !has(&text, 9));
        assert_eq!(specialize(&text, &Constants::new()).unwrap(), "a 4 b 1");
        assert_eq!(
            specialize(&text, &Constants::from([(8, 3)])).unwrap(),
            "a 4 b 3"
        );
        assert_eq!(read(b"a"), None);
        assert_eq!(read(&write("${7")), None);
    }
}
