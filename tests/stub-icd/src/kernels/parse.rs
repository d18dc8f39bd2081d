//! Finding kernels in source text. No C is understood but the heads of kernel functions.

use super::number::Scalar;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Global,
    Local,
    Constant,
    Private,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    None,
    ReadOnly,
    WriteOnly,
    ReadWrite,
}

/// What an argument is, as far as passing it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pointer(Scalar),
    Value(Scalar),
    Image,
    Sampler,
    /// `queue_t`.
    Queue,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    /// As `CL_KERNEL_ARG_TYPE_NAME` has it: without qualifiers, `*` at the end.
    pub type_name: String,
    pub kind: Kind,
    pub space: Space,
    pub access: Access,
    pub is_const: bool,
    pub is_restrict: bool,
    pub is_volatile: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub name: String,
    pub parameters: Vec<Parameter>,
    /// From `reqd_work_group_size`.
    pub group: Option<[usize; 3]>,
}

/// All kernels of a source text.
///
/// # Errors
/// The build log.
pub fn kernels(source: &str) -> Result<Vec<Signature>, String> {
    let source = without_comments(source);
    if let Some(line) = source
        .lines()
        .find(|line| line.trim_start().starts_with("#error"))
    {
        return Err(format!("error: {}", line.trim()));
    }
    let tokens = tokens(&source);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at += 1;
        if matches!(tokens[at - 1].as_str(), "kernel" | "__kernel") {
            let (kernel, next) = kernel(&tokens, at)?;
            found.push(kernel);
            at = next;
        }
    }
    Ok(found)
}

fn without_comments(source: &str) -> String {
    let mut rest = source;
    let mut text = String::new();
    while let Some(start) = rest.find("/*").into_iter().chain(rest.find("//")).min() {
        text.push_str(&rest[..start]);
        let (end, skip) = if rest[start..].starts_with("/*") {
            ("*/", 2)
        } else {
            ("\n", 0)
        };
        rest = rest[start + 2..]
            .find(end)
            .map_or("", |at| &rest[start + 2 + at + skip..]);
        text.push(' ');
    }
    text + rest
}

fn tokens(source: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut in_word = false;
    for c in source.chars() {
        let word = c.is_alphanumeric() || c == '_';
        match tokens.last_mut() {
            Some(last) if word && in_word => last.push(c),
            _ if !c.is_whitespace() => tokens.push(c.to_string()),
            _ => {}
        }
        in_word = word;
    }
    tokens
}

/// Behind the word `kernel`: `[__attribute__((…))] void name(parameters)`. Returns also where to go on.
fn kernel(tokens: &[String], mut at: usize) -> Result<(Signature, usize), String> {
    let mut group = None;
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    while token(at) == "__attribute__" {
        let end = closing(tokens, at + 1)?;
        if let Some(start) = tokens[at..end]
            .iter()
            .position(|token| token == "reqd_work_group_size")
        {
            let sizes: Vec<usize> = tokens[at + start..end]
                .iter()
                .filter_map(|token| token.parse().ok())
                .collect();
            group = Some(
                sizes
                    .try_into()
                    .map_err(|_| "error: reqd_work_group_size wants three numbers")?,
            );
        }
        at = end + 1;
    }
    if token(at) != "void" || token(at + 2) != "(" {
        return Err(format!(
            "error: expected 'void name(' behind 'kernel', found '{}'",
            token(at)
        ));
    }
    let name = token(at + 1).to_owned();
    let end = closing(tokens, at + 2)?;
    let inside = &tokens[at + 3..end];
    let parameters = match inside {
        [] => Vec::new(),
        [only] if only == "void" => Vec::new(),
        inside => inside
            .split(|token| token == ",")
            .map(parameter)
            .collect::<Result<_, _>>()?,
    };
    Ok((
        Signature {
            name,
            parameters,
            group,
        },
        end,
    ))
}

fn closing(tokens: &[String], open: usize) -> Result<usize, String> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "(" => depth += 1,
            ")" if depth == 1 => return Ok(at),
            ")" => depth -= 1,
            _ => {}
        }
    }
    Err("error: expected ')'".to_owned())
}

fn parameter(tokens: &[String]) -> Result<Parameter, String> {
    let text = tokens.join(" ");
    let mut parameter = Parameter {
        name: tokens.last().cloned().unwrap_or_default(),
        type_name: String::new(),
        kind: Kind::Sampler,
        space: Space::Private,
        access: Access::None,
        is_const: false,
        is_restrict: false,
        is_volatile: false,
    };
    let mut pointer = false;
    let mut unsigned = false;
    for token in &tokens[..tokens.len().saturating_sub(1)] {
        match token.trim_start_matches("__") {
            "global" => parameter.space = Space::Global,
            "local" => parameter.space = Space::Local,
            "constant" => parameter.space = Space::Constant,
            "private" => {}
            "read_only" => parameter.access = Access::ReadOnly,
            "write_only" => parameter.access = Access::WriteOnly,
            "read_write" => parameter.access = Access::ReadWrite,
            "const" => parameter.is_const = true,
            "restrict" => parameter.is_restrict = true,
            "volatile" => parameter.is_volatile = true,
            "unsigned" => unsigned = true,
            "*" => pointer = true,
            name => parameter.type_name = name.to_owned(),
        }
    }
    if unsigned {
        parameter.type_name = format!("u{}", parameter.type_name);
    }
    parameter.kind = match parameter.type_name.as_str() {
        "sampler_t" => Kind::Sampler,
        "queue_t" => Kind::Queue,
        "image1d_t" | "image1d_buffer_t" | "image2d_t" | "image3d_t" | "image2d_array_t" => {
            parameter.space = Space::Global;
            if parameter.access == Access::None {
                parameter.access = Access::ReadOnly;
            }
            Kind::Image
        }
        name => {
            let scalar =
                Scalar::of(name).ok_or_else(|| format!("error: unknown type in '{text}'"))?;
            if pointer {
                Kind::Pointer(scalar)
            } else {
                Kind::Value(scalar)
            }
        }
    };
    if pointer {
        parameter.type_name.push('*');
        if parameter.space == Space::Private {
            return Err(format!("error: pointer without address space in '{text}'"));
        }
        parameter.is_const |= parameter.space == Space::Constant;
    }
    Ok(parameter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_heads_of_kernels() {
        let source = "// kernel void no(\n/* __kernel */ #define X 1\n__kernel __attribute__((reqd_work_group_size(8, 1, 1)))\
            void add(__global const uint *restrict a, global volatile unsigned int* b, local float *s, ulong n)\n{ a; }\
            kernel void look(read_only image2d_t i, sampler_t s) {}";
        let found = kernels(source).unwrap();
        assert_eq!(
            found.iter().map(|k| k.name.as_str()).collect::<Vec<_>>(),
            ["add", "look"]
        );
        assert_eq!(found[0].group, Some([8, 1, 1]));
        let [a, b, s, n] = &found[0].parameters[..] else {
            panic!("four parameters")
        };
        assert_eq!((a.name.as_str(), a.type_name.as_str()), ("a", "uint*"));
        assert!(a.is_const && a.is_restrict && b.is_volatile && !b.is_const);
        assert_eq!(
            (b.kind, b.type_name.as_str()),
            (Kind::Pointer(Scalar::Uint), "uint*")
        );
        assert_eq!(
            (s.space, n.space, n.kind),
            (Space::Local, Space::Private, Kind::Value(Scalar::Ulong))
        );
        let [i, s] = &found[1].parameters[..] else {
            panic!("two parameters")
        };
        assert_eq!(
            (i.kind, i.access, s.kind),
            (Kind::Image, Access::ReadOnly, Kind::Sampler)
        );
    }

    #[test]
    fn says_what_is_wrong() {
        for (source, part) in [
            ("kernel int f()", "'int'"),
            ("kernel void f(global uint *a", "')'"),
            ("kernel void f(uint *a)", "address space"),
            ("kernel void f(struct x a)", "unknown type"),
            (" #error stop here", "stop here"),
        ] {
            assert!(kernels(source).unwrap_err().contains(part), "{source}");
        }
    }
}
