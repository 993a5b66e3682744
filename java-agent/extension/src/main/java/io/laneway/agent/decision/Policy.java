package io.laneway.agent.decision;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.Supplier;

/**
 * All groups that are known, and the two decisions: at an entrance {@link #enter}, at a hop {@link #choose}. Pure: it
 * reads no clock and draws no numbers. The case files of {@code crates/lanes/tests/cases} are its tests as they are the
 * gateway's.
 */
public final class Policy {
    private final TreeMap<String, Group> groups = new TreeMap<>();

    /** Of these groups. */
    public Policy(Collection<Group> groups) {
        for (Group group : groups) {
            this.groups.put(group.name, group);
        }
    }

    /**
     * What a request carries: group to what stands in its baggage, decoded. Groups that are not known here travel on
     * unread; a tag that its group does not know is base, decided.
     */
    public LaneContext read(Map<String, String> carried) {
        LaneContext context = new LaneContext();
        carried.forEach((name, value) -> {
            Group group = groups.get(name);
            if (group == null) {
                return;
            }
            Lane lane = group.lane(value);
            if (lane == null && !Names.isBase(value) && !value.equals("-")) {
                context.addUnknown(name);
            } else {
                context.add(name, lane);
            }
        });
        return context;
    }

    /**
     * Decides for every group that has this application as an entrance and no member yet (semantics §2 – §5).
     * {@code random} gives 16 bytes, for ratio lanes without a key. Returns what it has decided: group to tag, empty for the
     * base.
     */
    public Map<String, String> enter(String application, Request request, Supplier<byte[]> random, LaneContext context) {
        return enter(group -> group.entrances.contains(application), request, random, context);
    }

    Map<String, String> enter(Predicate<Group> isEntrance, Request request, Supplier<byte[]> random, LaneContext context) {
        Map<String, String> decided = new TreeMap<>();
        for (Group group : groups.values()) {
            if (isEntrance.test(group) && !context.members().containsKey(group.name)) {
                Lane lane = group.enter(request, random.get());
                context.add(group.name, lane);
                decided.put(group.name, lane == null ? "" : lane.tag);
            }
        }
        return decided;
    }

    /** Whether no group is known. */
    public boolean isEmpty() {
        return groups.isEmpty();
    }

    /** Whether a group has this application as an entrance. */
    public boolean isEntrance(String application) {
        return groups.values().stream().anyMatch(group -> group.entrances.contains(application));
    }

    /** Whether one of its groups has it as an entrance that believes nobody: what a request brings of lanes is dropped. */
    public boolean isEdge(String application) {
        return groups.values().stream().anyMatch(group -> group.edges.contains(application));
    }

    /** Whether an instance of this application with this tag may serve a request. */
    public boolean allows(LaneContext context, String application, String tag) {
        return turns(context, application).stream().anyMatch(turn -> turn.tag.equals(tag));
    }

    /** How a request counts at an instance of an application with this tag, {@code null} for at none. */
    public Hop hop(LaneContext context, String application, String tag) {
        List<Turn> turns = turns(context, application);
        for (Turn turn : turns) {
            if (turn.tag.equals(tag)) {
                return new Hop(turn.group, turn.lane, turn.outcome);
            }
        }
        // Nobody may serve it here: it counts under the lane that says so, be it one in which the application is switched off.
        for (Map.Entry<String, Lane> member : context.members().entrySet()) {
            if (governs(groups.get(member.getKey()), member.getValue(), application)) {
                return new Hop(member.getKey(), member.getValue().tag, Choice.Outcome.FALLBACK);
            }
        }
        return new Hop("", "", Choice.Outcome.BASE);
    }

    /**
     * The lane that a request counts in, by group and tag: that of a group with the application, else the first; both empty
     * where it is in none.
     */
    public String[] laneOf(LaneContext context, String application) {
        String[] first = {"", ""};
        for (Map.Entry<String, Lane> member : context.members().entrySet()) {
            if (member.getValue() == LaneContext.BASE) {
                continue;
            }
            String[] named = {member.getKey(), member.getValue().tag};
            if (groups.get(member.getKey()).applications.contains(application)) {
                return named;
            }
            first = first[0].isEmpty() ? named : first;
        }
        return first;
    }

    /**
     * What of a context is written on the wire, by group. The base is said only of groups with an application as
     * entrance.
     */
    public Map<String, String> written(LaneContext context) {
        Map<String, String> written = new TreeMap<>();
        context.members().forEach((name, lane) -> {
            if (lane != LaneContext.BASE) {
                written.put(name, lane.tag);
            } else if (groups.get(name).hasApplicationEntrance()) {
                written.put(name, "-");
            }
        });
        return written;
    }

    /**
     * Who may serve a request at a service (semantics §1, §7 – §11). {@code picked}: the address that the application
     * chose itself, kept where it is allowed; {@code null} for none. {@code isEjected}: to whom connects fail now.
     */
    public Choice choose(LaneContext context, Service service, String picked, Predicate<Endpoint> isEjected) {
        List<Turn> turns = turns(context, service.application);
        Function<Turn, List<Endpoint>> strictly = turn -> {
            Endpoint kept = picked == null ? null : service.at(turn.tag, picked, isEjected);
            return kept != null ? Collections.singletonList(kept) : service.candidates(turn.tag, isEjected);
        };
        Choice found = first(turns, strictly);
        // Ejection alone never fails a request: what else is allowed is tried all the same.
        return found != null ? found : choose(context, service);
    }

    /** Who may serve a request at a service of which nobody is ejected, where the application has picked nobody. */
    public Choice choose(LaneContext context, Service service) {
        Choice found = first(turns(context, service.application), turn -> service.candidates(turn.tag));
        return found != null ? found : refused(context, service);
    }

    private static Choice first(List<Turn> turns, Function<Turn, List<Endpoint>> candidates) {
        for (Turn turn : turns) {
            List<Endpoint> endpoints = candidates.apply(turn);
            if (!endpoints.isEmpty()) {
                return new Choice(turn.outcome, endpoints, turn.tag, "");
            }
        }
        return null;
    }

    /** Sets of instances in the order in which they are tried. */
    private List<Turn> turns(LaneContext context, String application) {
        List<Turn> turns = new ArrayList<>();
        Turn base = new Turn("", Choice.Outcome.BASE, "", "");
        boolean strict = false;
        for (Map.Entry<String, Lane> member : context.members().entrySet()) {
            Group group = groups.get(member.getKey());
            Lane lane = member.getValue();
            if (!governs(group, lane, application)) {
                continue;
            }
            if (base.group.isEmpty()) {
                base = new Turn("", Choice.Outcome.FALLBACK, group.name, lane.tag);
            }
            strict |= lane.strict;
            if (!lane.switchedOff.contains(application)) {
                turns.add(new Turn(lane.tag, Choice.Outcome.LANE, group.name, lane.tag));
            }
            for (String tag : lane.strict ? Collections.<String>emptyList() : lane.fallback) {
                Lane listed = group.lane(tag);
                if (listed != null && listed.enabled && !listed.switchedOff.contains(application)) {
                    turns.add(new Turn(tag, Choice.Outcome.FALLBACK, group.name, lane.tag));
                }
            }
        }
        if (!strict) {
            turns.add(base);
        }
        return turns;
    }

    private static boolean governs(Group group, Lane lane, String application) {
        return lane != LaneContext.BASE && lane.enabled && group.applications.contains(application);
    }

    private Choice refused(LaneContext context, Service service) {
        String why = "no usable base instance of " + service.name;
        for (Map.Entry<String, Lane> member : context.members().entrySet()) {
            Lane lane = member.getValue();
            if (governs(groups.get(member.getKey()), lane, service.application) && lane.strict) {
                why = "no usable instance of " + service.name + " in strict lane " + member.getKey() + "/" + lane.tag;
                break;
            }
        }
        return new Choice(Choice.Outcome.REFUSED, Collections.<Endpoint>emptyList(), "", why);
    }

    private static final class Turn {
        final String tag;
        final Choice.Outcome outcome;
        /** By which group, and which of its lanes; empty for the base of a request that no lane governs. */
        final String group;
        final String lane;

        Turn(String tag, Choice.Outcome outcome, String group, String lane) {
            this.tag = tag;
            this.outcome = outcome;
            this.group = group;
            this.lane = lane;
        }
    }
}
