package io.laneway.agent.discovery;

import io.laneway.agent.decision.Group;
import io.laneway.agent.decision.Service;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;

/** What the control plane has told, resource by resource. One thread has it; others see its {@link View}s. */
final class Picture {
    private final String application;
    private final Map<String, Held> held = new HashMap<>();
    private long[] digest;
    private String epoch = "";
    private long number;
    private boolean complete;
    private long trafficEveryMillis;

    /** {@code application}: whose picture it is, which may be an entrance. */
    Picture(String application) {
        this.application = application;
    }

    /** One resource as it is held. */
    static final class Held {
        final String key;
        long version;
        /** Whose identity it is the service of; otherwise {@code null}. */
        Messages.ServiceId service;
        Group group;
        Service instances;
        /** Of a name: whether it has been answered; {@link #service} says with which service, if any. */
        boolean isName;
        /** Of a name that several services have: their sources. */
        final List<String> sources = new ArrayList<>();

        Held(String key) {
            this.key = key;
        }
    }

    /** Takes one message whole. Returns keys and reasons, in turn, of what cannot be taken: the last good ones stay. */
    List<String> apply(byte[] message) {
        List<String> refused = new ArrayList<>();
        ProtobufReader in = new ProtobufReader(message);
        for (int field = in.next(); field != 0; field = in.next()) {
            switch (field) {
                case 1:
                    generation(in.message());
                    break;
                case 2:
                    upsert(in.message(), refused);
                    break;
                case 3:
                    held.remove(in.text());
                    break;
                case 4:
                    complete |= in.flag();
                    break;
                case 5:
                    changeDigest(in.message());
                    break;
                case 6:
                    trafficEveryMillis = in.number();
                    break;
                default:
                    in.skip();
            }
        }
        return refused;
    }

    private void generation(ProtobufReader in) {
        for (int field = in.next(); field != 0; field = in.next()) {
            if (field == 1) {
                epoch = in.text();
            } else if (field == 2) {
                number = in.number();
            } else {
                in.skip();
            }
        }
    }

    private void upsert(ProtobufReader in, List<String> refused) {
        String key = "";
        try {
            Held fresh = null;
            for (int field = in.next(); field != 0; field = in.next()) {
                if (field == 1) {
                    key = in.text();
                    fresh = new Held(key);
                } else if (fresh == null) {
                    in.skip();
                } else if (field == 2) {
                    fresh.version = in.number();
                } else {
                    body(field, in, fresh);
                }
            }
            if (fresh != null) {
                held.put(key, fresh);
            }
        } catch (IllegalArgumentException unreadable) {
            refused.add(key);
            refused.add("this agent cannot read it: " + unreadable.getMessage());
        }
    }

    private void body(int field, ProtobufReader in, Held fresh) {
        switch (field) {
            case 3:
                fresh.group = Messages.group(in.message(), application);
                break;
            case 4:
                ProtobufReader service = in.message();
                fresh.service = identity(service.again());
                fresh.instances = Messages.service(service);
                break;
            case 7:
                fresh.isName = true;
                ProtobufReader answer = in.message();
                for (int part = answer.next(); part != 0; part = answer.next()) {
                    if (part == 2) {
                        fresh.service = Messages.ServiceId.read(answer.message());
                    } else if (part == 3) {
                        fresh.sources.add(answer.text());
                    } else {
                        answer.skip();
                    }
                }
                break;
            default:
                in.skip();
        }
    }

    private static Messages.ServiceId identity(ProtobufReader service) {
        for (int field = service.next(); field != 0; field = service.next()) {
            if (field == 1) {
                return Messages.ServiceId.read(service.message());
            }
            service.skip();
        }
        throw new IllegalArgumentException("a service without identity");
    }

    /** A change of what was never told whole says nothing. */
    private void changeDigest(ProtobufReader in) {
        boolean whole = false;
        LongStream.Builder added = LongStream.builder();
        LongStream.Builder removed = LongStream.builder();
        for (int field = in.next(); field != 0; field = in.next()) {
            if (field == 1) {
                whole = in.flag();
            } else if (field == 2 || field == 3) {
                hashes(in, field == 2 ? added : removed);
            } else {
                in.skip();
            }
        }
        if (whole) {
            digest = added.build().sorted().distinct().toArray();
        } else if (digest != null) {
            long[] gone = removed.build().sorted().toArray();
            LongStream stays = Arrays.stream(digest).filter(hash -> Arrays.binarySearch(gone, hash) < 0);
            digest = LongStream.concat(stays, added.build()).sorted().distinct().toArray();
        }
    }

    /** One of them, or a run of packed ones. */
    private static void hashes(ProtobufReader in, LongStream.Builder into) {
        if (!in.isRun()) {
            into.add(in.fixed64());
            return;
        }
        ProtobufReader packed = in.message();
        while (!packed.isAtEnd()) {
            into.add(packed.fixed64());
        }
    }

    /** What decisions run on. */
    View view() {
        List<Group> groups = new ArrayList<>();
        Map<Messages.ServiceId, Service> services = new HashMap<>();
        for (Held one : held.values()) {
            if (one.group != null) {
                groups.add(one.group);
            } else if (one.instances != null) {
                services.put(one.service, one.instances);
            }
        }
        Map<String, Service> names = new HashMap<>();
        Map<String, List<String>> ambiguous = new HashMap<>();
        for (Held one : held.values()) {
            if (!one.isName) {
                continue;
            }
            String name = one.key.substring(one.key.indexOf('/') + 1);
            if (!one.sources.isEmpty()) {
                ambiguous.put(name, one.sources);
            } else if (one.service == null || services.containsKey(one.service)) {
                names.put(name, services.get(one.service));
            } // else its service is still to come
        }
        return new View(groups, names, ambiguous, digest, complete);
    }

    Collection<Held> held() {
        return held.values();
    }

    String epoch() {
        return epoch;
    }

    /** How often at most the control plane of this stream takes what has passed; 0: not at all. */
    long trafficEveryMillis() {
        return trafficEveryMillis;
    }

    /** A stream begins, of which nothing has been said yet. */
    void begin() {
        trafficEveryMillis = 0;
    }

    long number() {
        return number;
    }
}
