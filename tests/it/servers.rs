//! Says which servers the tests run on, and fails if there are none.

use headwater_rig::found_servers;

#[test]
fn there_are_servers_to_test_on() {
    found_servers();
}
