//! Rules that Dubbo's own routers read from the configuration of a real Nacos server, for an application of a lane group: a
//! conflict, told where somebody looks for it, until it is gone.

use anyhow::{Result, ensure};
use testkit::{needs, wait};

use crate::{
    LANES,
    world::{self, SOON, World},
};

/// Rules as Dubbo's console writes them.
const TAGS: &str = "force: false\nenabled: true\nkey: dubbo-c\ntags:\n- name: gray\n  addresses: ['127.0.0.23:20880']\n";
const CONDITIONS: &str =
    "scope: service\nenabled: true\nkey: 'org.C:1.0:'\nconditions:\n- '=> host != 127.0.0.23'\n";

/// The ids under which Dubbo looks for them.
const OF_APPLICATION: &str = "dubbo-c.tag-router";
const OF_INTERFACE: &str = "org.C:1.0:.condition-router";

#[test]
fn rules_of_dubbos_own_for_an_application_of_a_group_are_told_as_conflicts() -> Result<()> {
    if !needs("netns") || !needs("nacos") {
        return Ok(());
    }
    let world = World::start_with_configurations()?;
    world.configure(OF_APPLICATION, TAGS)?;
    world.configure("somebody-elses.tag-router", TAGS)?;
    // By application, in whose registrations Dubbo writes a revision; by interface it names the application.
    let by_application = [("dubbo.metadata.revision", "3ac4"), ("laneway.io/application", "app-c")];
    let by_interface = [("side", "provider"), ("application", "app-c")];
    world.register("dubbo-c", "127.0.0.13:20880", &by_application)?;
    world.register("other", "127.0.0.14:20880", &[("laneway.io/application", "other")])?;
    world.apply(&format!("{}{LANES}", world::source("DEFAULT_GROUP")))?;
    is_told(&world, OF_APPLICATION)?;
    for (kind, name) in
        [("lanegroup", "trade"), ("lane", "trade-gray"), ("servicesource", "registry")]
    {
        let object = world.laneway(&["get", kind, name, "-o", "yaml"])?;
        ensure!(object.contains("Conflicted"), "{object}");
    }
    let status = world.laneway(&["status"])?;
    ensure!(!status.contains("somebody-elses"), "{status}");

    // Pushed: what is changed and what is deleted.
    world.configure(OF_APPLICATION, &TAGS.replace("enabled: true", "enabled: false"))?;
    nothing_is_told(&world)?;
    world.register(
        "providers:org.C:1.0:",
        "127.0.0.13:20881",
        &[("laneway.io/application", "app-c"), by_interface[0], by_interface[1]],
    )?;
    world.configure(OF_INTERFACE, CONDITIONS)?;
    is_told(&world, OF_INTERFACE)?;
    world.forget_configuration(OF_INTERFACE)?;
    nothing_is_told(&world)
}

/// Waits until a rule is told of the group, with what is to be done.
fn is_told(world: &World, rule: &str) -> Result<()> {
    wait::until(SOON, &format!("{rule} is told"), || {
        let group = world.laneway(&["get", "lanegroup", "trade", "-o", "yaml"])?;
        ensure!(group.contains("Conflicted") && group.contains(rule), "{group}");
        let status = world.laneway(&["status"])?;
        ensure!(status.contains(rule) && status.contains("enabled: false"), "{status}");
        Ok(())
    })
}

fn nothing_is_told(world: &World) -> Result<()> {
    wait::until(SOON, "no rule is told", || {
        let group = world.laneway(&["get", "lanegroup", "trade", "-o", "yaml"])?;
        ensure!(!group.contains("Conflicted"), "{group}");
        Ok(())
    })
}
