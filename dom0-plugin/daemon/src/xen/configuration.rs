//! A domain's configuration as libxl keeps it, and would send it along: `xl list -l`.

use crate::passthrough::toolstack::Configuration;
use serde_json::Value;
use std::io;

/// Reads what `xl list -l DOMAIN` has printed.
pub fn parse(text: &str) -> io::Result<Configuration> {
    let odd = |what: &str| io::Error::other(format!("`xl list -l` printed no {what}"));
    // xl may have warned before.
    let start = text.find('[').ok_or_else(|| odd("list"))?;
    let list: Value = serde_json::from_str(&text[start..])
        .map_err(|e| io::Error::other(format!("`xl list -l` printed no JSON: {e}")))?;
    let config = &list[0]["config"];
    let about = config["c_info"].as_object().ok_or_else(|| odd("c_info"))?;
    // libxl_passthrough of libxl_types.idl; what is at its default is left out.
    let passthrough = about.get("passthrough").and_then(Value::as_str);
    Ok(Configuration {
        passthrough: !matches!(passthrough, None | Some("default" | "unknown" | "disabled")),
        devices: config["pcidevs"].as_array().map_or(0, Vec::len),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iommu_context_and_devices_are_seen() {
        let of = |config: &str| parse(&format!("note\n[{{\"domid\": 3, \"config\": {config}}}]"));
        let none = of(r#"{"c_info": {"type": "pv", "passthrough": "disabled"}}"#).unwrap();
        assert_eq!((none.passthrough, none.devices), (false, 0));
        let line = of(r#"{"c_info": {"type": "pv", "passthrough": "sync_pt"}}"#).unwrap();
        assert!(line.passthrough);
        let device = of(r#"{"c_info": {"type": "pv"}, "pcidevs": [{"dev": 10}]}"#).unwrap();
        assert_eq!(device.devices, 1);
        assert!(of("{}").is_err() && parse("").is_err() && parse("[").is_err());
    }
}
