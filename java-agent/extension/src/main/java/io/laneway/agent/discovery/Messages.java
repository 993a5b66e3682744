package io.laneway.agent.discovery;

import io.laneway.agent.decision.Addresses;
import io.laneway.agent.decision.Endpoint;
import io.laneway.agent.decision.Group;
import io.laneway.agent.decision.Lane;
import io.laneway.agent.decision.Service;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;

/**
 * What is said on the stream, by {@code crates/api/proto/discovery.proto}: fields are added there, never renumbered or
 * renamed. Numbers below are that file's.
 */
final class Messages {
    private static final int ROLE_AGENT = 3;
    private static final int HEALTH_USABLE = 1;
    private static final int HELLO = 1;
    private static final int SUBSCRIBE = 2;
    private static final int ACK = 3;
    private static final int GOODBYE = 5;
    /** The capability: what passes here is told. */
    private static final String TRAFFIC = "traffic";
    /** The capability: a lane that is paused keeps its place in the draw. */
    private static final String PAUSE = "pause";

    private Messages() {}

    /** Who this agent is, and what it holds already of which epoch. */
    static byte[] hello(Identity identity, Collection<Picture.Held> held, String epoch) {
        ProtobufWriter hello = new ProtobufWriter()
                .text(1, identity.node).number(2, ROLE_AGENT).text(3, identity.application).text(4, identity.version);
        hello.text(5, TRAFFIC).text(5, PAUSE);
        for (Picture.Held one : held) {
            ProtobufWriter written = new ProtobufWriter().text(1, one.key).number(2, one.version);
            if (one.service != null) {
                written.message(3, one.service.written());
            }
            hello.message(6, written);
        }
        hello.text(7, identity.address).text(8, identity.joinToken).text(9, identity.tag);
        return new ProtobufWriter().message(HELLO, hello.text(12, epoch).text(13, identity.namespace)).bytes();
    }

    static byte[] subscribe(Collection<String> names) {
        ProtobufWriter subscribe = new ProtobufWriter();
        names.forEach(name -> subscribe.text(1, name));
        return new ProtobufWriter().message(SUBSCRIBE, subscribe).bytes();
    }

    /** {@code refused}: keys and reasons in turn. */
    static byte[] ack(String epoch, long number, List<String> refused) {
        ProtobufWriter ack = new ProtobufWriter()
                .message(1, new ProtobufWriter().text(1, epoch).number(2, number));
        for (int at = 0; at < refused.size(); at += 2) {
            ack.message(2, new ProtobufWriter().text(1, refused.get(at)).text(2, refused.get(at + 1)));
        }
        return new ProtobufWriter().message(ACK, ack).bytes();
    }

    static byte[] goodbye() {
        return new ProtobufWriter().message(GOODBYE, new ProtobufWriter()).bytes();
    }

    /** Which service: four parts, compared case-insensitively. */
    static final class ServiceId {
        private final String[] parts = {"", "", "", ""};

        static ServiceId read(ProtobufReader in) {
            ServiceId id = new ServiceId();
            for (int field = in.next(); field != 0; field = in.next()) {
                if (field <= id.parts.length) {
                    id.parts[field - 1] = in.text().toLowerCase(Locale.ROOT);
                } else {
                    in.skip();
                }
            }
            return id;
        }

        ProtobufWriter written() {
            ProtobufWriter out = new ProtobufWriter();
            for (int part = 0; part < parts.length; part++) {
                out.text(part + 1, parts[part]);
            }
            return out;
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof ServiceId && Arrays.equals(parts, ((ServiceId) other).parts);
        }

        @Override
        public int hashCode() {
            return Arrays.hashCode(parts);
        }
    }

    /**
     * A group. How requests enter its lanes is read where this application is an entrance: what is wrong with it would take
     * the whole group away from an agent that does not need it. Entrances are told before lanes.
     */
    static Group group(ProtobufReader in, String application) {
        String name = "";
        List<String> entrances = new ArrayList<>();
        List<String> edges = new ArrayList<>();
        List<String> applications = new ArrayList<>();
        List<Lane> lanes = new ArrayList<>();
        for (int field = in.next(); field != 0; field = in.next()) {
            switch (field) {
                case 1:
                    name = in.text();
                    break;
                case 2:
                    entrance(in.message(), entrances, edges);
                    break;
                case 3:
                    applications.add(in.text());
                    break;
                case 4:
                    lanes.add(lane(in.message(), entrances.contains(application)));
                    break;
                default:
                    in.skip();
            }
        }
        return new Group(name, entrances, edges, applications, lanes);
    }

    private static void entrance(ProtobufReader in, List<String> applications, List<String> edges) {
        for (int field = in.next(); field != 0; field = in.next()) {
            if (field != 2) {
                in.skip();
                continue;
            }
            ProtobufReader application = in.message();
            String name = "";
            boolean isEdge = false;
            for (int part = application.next(); part != 0; part = application.next()) {
                if (part == 1) {
                    name = application.text();
                } else if (part == 2) {
                    isEdge = application.flag();
                } else {
                    application.skip();
                }
            }
            applications.add(name);
            if (isEdge) {
                edges.add(name);
            }
        }
    }

    private static Lane lane(ProtobufReader in, boolean isEntrance) {
        Lane lane = new Lane();
        boolean isEntryRead = false;
        for (int field = in.next(); field != 0; field = in.next()) {
            switch (field) {
                case 1:
                    lane.tag = in.text();
                    break;
                case 2:
                    lane.enabled = in.flag();
                    break;
                case 3:
                    lane.admitting = in.flag();
                    break;
                case 4:
                    lane.priority = in.signed();
                    break;
                case 5:
                    entry(in, isEntrance, content -> Entries.content(content, lane));
                    isEntryRead = true;
                    break;
                case 6:
                    entry(in, isEntrance, ratio -> Entries.ratio(ratio, lane));
                    isEntryRead = true;
                    break;
                case 7:
                    lane.strict = in.flag();
                    break;
                case 8:
                    lane.fallback.add(in.text());
                    break;
                case 9:
                    lane.switchedOff.add(in.text());
                    break;
                case 10:
                    lane.paused = in.flag();
                    break;
                default:
                    in.skip();
            }
        }
        if (isEntrance && !isEntryRead) {
            throw new IllegalArgumentException("lane `" + lane.tag + "` is entered in a way that this agent does not know");
        }
        return lane;
    }

    private static void entry(ProtobufReader in, boolean isRead, Consumer<ProtobufReader> read) {
        if (isRead) {
            read.accept(in.message());
        } else {
            in.skip();
        }
    }

    static Service service(ProtobufReader in) {
        String name = "";
        String application = "";
        List<Endpoint> endpoints = new ArrayList<>();
        for (int field = in.next(); field != 0; field = in.next()) {
            switch (field) {
                case 2:
                    name = in.text();
                    break;
                case 3:
                    application = in.text();
                    break;
                case 4:
                    endpoints.add(endpoint(in.message()));
                    break;
                default:
                    in.skip();
            }
        }
        return new Service(name, application, endpoints);
    }

    private static Endpoint endpoint(ProtobufReader in) {
        Endpoint endpoint = new Endpoint();
        endpoint.weight = 0;
        endpoint.usable = false;
        for (int field = in.next(); field != 0; field = in.next()) {
            switch (field) {
                case 1:
                    endpoint.address = canonical(in.text());
                    break;
                case 2:
                case 6:
                case 7:
                    endpoint.otherAddresses.add(canonical(in.text()));
                    break;
                case 3:
                    endpoint.tag = in.text();
                    break;
                case 4:
                    endpoint.weight = in.number();
                    break;
                case 5:
                    endpoint.usable = in.number() == HEALTH_USABLE;
                    break;
                default:
                    in.skip();
            }
        }
        return endpoint;
    }

    private static String canonical(String address) {
        int colon = address.lastIndexOf(':');
        String canonical = colon < 0 ? null
                : Addresses.canonical(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)));
        if (canonical == null) {
            throw new IllegalArgumentException("`" + address + "` is no address");
        }
        return canonical;
    }
}
