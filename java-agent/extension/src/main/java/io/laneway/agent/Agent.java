package io.laneway.agent;

import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.discovery.Follower;
import io.laneway.agent.routing.LaneRouter;
import java.util.logging.Logger;

/** Puts the parts together: who follows the control plane, who chooses, and where adapters find that. */
final class Agent {
    private static final String OWN_TAGS = ": instances are chosen by their own tags";

    private Agent() {}

    /** Whatever is wrong with the settings, the base reaches no tagged instance. */
    static void start(Settings settings, Logger logger) {
        Bridge.install(new LaneRouter(follower(settings, logger), text -> logger.warning("laneway: " + text)));
    }

    private static Follower follower(Settings settings, Logger logger) {
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
                    new Follower(settings.identity(), (level, text) -> logger.log(level, "laneway: " + text));
            follower.start();
            return follower;
        } catch (IllegalArgumentException wrong) {
            logger.severe("laneway: " + wrong.getMessage() + OWN_TAGS);
            return null;
        }
    }
}
