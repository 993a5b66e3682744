package io.laneway.agent;

import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.discovery.Follower;
import io.laneway.agent.routing.LaneRouter;
import java.io.IOException;
import java.util.logging.Logger;

/** Puts the parts together: who follows the control plane, who chooses, and where adapters find that. */
final class Agent {
    private Agent() {}

    static void start(Settings settings, Logger logger) throws IOException {
        Follower follower = null;
        if (settings.control().isEmpty()) {
            logger.warning("laneway: no control plane is named (-Dlaneway.control=HOST:PORT): instances are chosen by their own tags");
        } else {
            follower = new Follower(settings.identity(), text -> logger.info("laneway: " + text));
            follower.start();
        }
        Bridge.install(new LaneRouter(follower, text -> logger.warning("laneway: " + text)));
    }
}
