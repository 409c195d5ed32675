//! Whatever text stands for a host, a hosts file or a `resolv.conf`.

#![no_main]

use buttress_dns::{Guard, Hosts, Name, ResolvConf, ServiceName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(name) = Name::new(text) {
        let again = Name::new(&name.to_question()).expect("a name is read back");
        assert_eq!(again.as_str(), name.as_str());
        assert_eq!(again.address().map(|at| at.ip()), name.address().map(|at| at.ip()));
        assert!(name.as_str().len() <= 253);
        if let Some(address) = name.address() {
            // What the system's resolver would dial is seen by the guard.
            let canonical = address.ip().to_canonical();
            assert_eq!(Guard::new().allows(address.ip()), Guard::new().allows(canonical));
        }
    }
    drop(ServiceName::new(text));
    let hosts = Hosts::read(text);
    for name in text.split_ascii_whitespace() {
        assert!(hosts.addresses(name).is_none_or(|found| !found.is_empty()));
    }
    let conf = ResolvConf::read(text);
    assert!(conf.servers().len() <= 8 && conf.search().len() <= 16 && conf.ndots() <= 15);
});
