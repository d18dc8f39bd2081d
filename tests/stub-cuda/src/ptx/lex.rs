//! Text to tokens.

/// A token. Words are names, registers, directives and instructions with their dots.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Word(String),
    Integer(u64),
    /// Bits of an `f32`.
    Single(u32),
    /// Bits of an `f64`.
    Double(u64),
    Text(String),
    Sign(char),
}

/// Tokens with the line that each is on.
pub type Tokens = Vec<(Token, usize)>;

/// # Errors
/// Says what is no token, and where.
pub fn lex(text: &str) -> Result<Tokens, String> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let byte = bytes[at];
        if byte == b'\n' {
            line += 1;
        }
        if byte.is_ascii_whitespace() || byte == 0 {
            at += 1;
        } else if bytes[at..].starts_with(b"//") {
            at = find(bytes, at, b"\n");
        } else if bytes[at..].starts_with(b"/*") {
            let end = find(bytes, at + 2, b"*/");
            line += bytes[at..end.min(bytes.len())]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count();
            at = end + 2;
        } else if byte == b'"' {
            let end = find(bytes, at + 1, b"\"");
            tokens.push((Token::Text(text[at + 1..end].to_owned()), line));
            at = end + 1;
        } else if is_word(byte) {
            let length = bytes[at..]
                .iter()
                .take_while(|&&byte| is_word(byte))
                .count();
            let word = &text[at..at + length];
            let token = match byte.is_ascii_digit() {
                true => number(word).ok_or_else(|| format!("line {line}: {word} is no number"))?,
                false => Token::Word(word.to_owned()),
            };
            tokens.push((token, line));
            at += length;
        } else if byte.is_ascii() {
            tokens.push((Token::Sign(byte.into()), line));
            at += 1;
        } else {
            return Err(format!("line {line}: not ASCII"));
        }
    }
    Ok(tokens)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%' | b'.')
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let mut places = bytes[from.min(bytes.len())..].windows(what.len());
    places
        .position(|place| place == what)
        .map_or(bytes.len(), |nth| from + nth)
}

fn number(word: &str) -> Option<Token> {
    let lower = word.to_ascii_lowercase();
    if let Some(bits) = lower.strip_prefix("0f") {
        return u32::from_str_radix(bits, 16).ok().map(Token::Single);
    }
    if let Some(bits) = lower.strip_prefix("0d") {
        return u64::from_str_radix(bits, 16).ok().map(Token::Double);
    }
    if lower.contains('.') {
        return lower
            .parse::<f64>()
            .ok()
            .map(|value| Token::Double(value.to_bits()));
    }
    let plain = lower.strip_suffix('u').unwrap_or(&lower);
    let value = match (plain.strip_prefix("0x"), plain.strip_prefix("0b")) {
        (Some(digits), _) => u64::from_str_radix(digits, 16),
        (_, Some(digits)) => u64::from_str_radix(digits, 2),
        _ if plain.len() > 1 && plain.starts_with('0') => u64::from_str_radix(&plain[1..], 8),
        _ => plain.parse(),
    };
    value.ok().map(Token::Integer)
}
