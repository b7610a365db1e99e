//! A message's body is an event or an error; an event survives being written and read again, and so does its trace.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microserve_core::events::Event;

fuzz_target!(|data: &[u8]| {
    if let Ok(event) = Event::from_body(data) {
        let message = event.to_message().expect("what was read can be written");
        assert_eq!(Event::from_body(&message.body).expect("and read again"), event);
        if let Some(trace) = event.trace() {
            assert_eq!(trace.to_string().parse(), Ok(trace));
        }
    }
});
