package io.laneway.agent;

import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.decision.Group;
import io.laneway.agent.decision.Names;
import io.laneway.agent.decision.Policy;
import io.laneway.agent.discovery.Follower;
import io.laneway.agent.entrance.Counting;
import io.laneway.agent.entrance.Entrance;
import io.laneway.agent.routing.LaneRouter;
import io.laneway.agent.routing.Registration;
import io.laneway.agent.statistics.Counters;
import io.laneway.agent.threads.Inheriting;
import java.lang.management.ManagementFactory;
import java.util.Collections;
import java.util.function.Consumer;
import java.util.logging.Logger;

/** Puts the parts together: who follows the control plane, who chooses, and where adapters find that. */
final class Agent {
    private static final String OWN_TAGS = ": instances are chosen by their own tags";

    private Agent() {}

    /** Whatever is wrong with the settings, the base reaches no tagged instance. */
    static void start(Settings settings, Logger logger) {
        if (!settings.tag().isEmpty() && !Names.isTag(settings.tag()) && !Names.isBase(settings.tag())) {
            logger.severe("laneway: `" + settings.tag() + "` is no tag (letters, digits, `-`, `_` and `.`, at most 63): an instance that is "
                    + "registered with it is used by nobody");
        }
        Consumer<String> log = text -> logger.warning("laneway: " + text);
        Neighbours.warnings(ManagementFactory.getRuntimeMXBean().getInputArguments()).forEach(log);
        if (settings.isOn("threads", true, log)) {
            Inheriting.install(log);
        }
        // Whatever comes of the rest: what is registered says its tag.
        Counters counters = new Counters();
        Registration registration = settings.registration();
        Bridge.install(new LaneRouter(null, registration, counters, log));
        if (!settings.isRouting(log)) {
            logger.info("laneway: routing is off: a sidecar beside this process chooses by lane, refuses and counts; here requests keep their "
                    + "context, and registrations say the tag");
            return;
        }
        Follower follower = follower(settings, counters, logger);
        String tag = Names.isBase(settings.tag()) ? "" : settings.tag();
        boolean mayBeEdge = settings.isOn("edge", false, log);
        if (follower != null || mayBeEdge) {
            Policy nothing = new Policy(Collections.<Group>emptyList());
            boolean mayRefuse = settings.isOn("refuse", true, log);
            Entrance.install(new Entrance(() -> follower == null ? nothing : follower.view().policy, settings.application(), tag, mayBeEdge,
                    () -> mayRefuse && registration.isTagKnown(), counters, log));
        }
        if (follower != null) {
            Counting.install(new Counting(follower::view, settings.application(), tag, counters, log));
        }
        Bridge.install(new LaneRouter(follower, registration, counters, log));
    }

    private static Follower follower(Settings settings, Counters counters, Logger logger) {
        if (settings.control().isEmpty()) {
            logger.warning("laneway: no control plane is named (-Dlaneway.control=HOST:PORT)" + OWN_TAGS);
            return null;
        }
        if (settings.application().equals(Settings.UNNAMED)) {
            logger.warning("laneway: no application is named (-Dlaneway.application=NAME; spring.application.name in a file of the "
                    + "application is not seen): it is shown as `" + Settings.UNNAMED + "`, and the first call to each service "
                    + "waits for an answer");
        }
        try {
            Follower follower =
                    new Follower(settings.identity(), counters, (level, text) -> logger.log(level, "laneway: " + text));
            follower.start();
            return follower;
        } catch (IllegalArgumentException wrong) {
            logger.severe("laneway: " + wrong.getMessage() + OWN_TAGS);
            return null;
        }
    }
}
