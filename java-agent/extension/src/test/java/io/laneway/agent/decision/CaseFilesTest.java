package io.laneway.agent.decision;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.yaml.snakeyaml.Yaml;

/**
 * Runs the case files of {@code crates/lanes/tests/cases}, whose README says how they read: the decision here is the
 * gateway's. And random ones that the crate itself has decided, where a file of them is named.
 */
class CaseFilesTest {
    @Test
    void every_case_file_holds() throws IOException {
        File[] files = new File(Shared.FOLDER, "cases").listFiles((folder, name) -> name.endsWith(".yaml"));
        Arrays.sort(files);
        int cases = 0;
        for (File file : files) {
            String text = new String(Files.readAllBytes(file.toPath()), StandardCharsets.UTF_8);
            cases += run(file.getName(), Shared.map(new Yaml().load(text)));
        }
        assertTrue(cases > 50, "only " + cases + " cases");
    }

    @Test
    void ten_thousand_random_cases_are_decided_as_the_gateway_does() throws IOException {
        String place = System.getProperty("laneway.random.cases", "");
        assumeTrue(!place.isEmpty(), "no file of random cases is named: `cargo xtask test` makes one");
        int cases = 0;
        try (BufferedReader lines = Files.newBufferedReader(Paths.get(place), StandardCharsets.UTF_8)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                cases += run("world " + cases / 10, Shared.map(new Yaml().load(line)));
            }
        }
        assertTrue(cases >= 10_000, "only " + cases + " cases");
    }

    private static int run(String place, Map<String, Object> file) {
        Policy policy = new Policy(Shared.list(file.get("groups")).stream().map(CaseFilesTest::group).collect(Collectors.toList()));
        Map<String, Map<String, Object>> groups = new LinkedHashMap<>();
        Shared.list(file.get("groups")).forEach(group -> groups.put((String) group.get("name"), group));
        Map<String, Service> services = new LinkedHashMap<>();
        Set<String> ejected = new HashSet<>();
        for (Map<String, Object> service : Shared.list(file.get("services"))) {
            services.put((String) service.get("name"), service(service, ejected));
        }
        for (Map<String, Object> wanted : Shared.list(file.get("cases"))) {
            check(place + ": " + wanted.get("name"), policy, groups, services, ejected, wanted);
        }
        return Shared.list(file.get("cases")).size();
    }

    private static void check(String place, Policy policy, Map<String, Map<String, Object>> groups,
            Map<String, Service> services, Set<String> ejected, Map<String, Object> wanted) {
        Map<String, String> carried = Shared.carried(Shared.text(wanted, "carried", ""));
        LaneContext context = policy.read(carried);
        if (!wanted.containsKey("nowhere")) {
            Predicate<Group> isEntrance = group -> isEntrance(groups.get(group.name), wanted);
            policy.enter(isEntrance, new CaseRequest(wanted), () -> new byte[16], context);
        }
        Map<String, Object> lanes = new TreeMap<>();
        context.members().forEach((group, lane) -> lanes.put(group, lane == LaneContext.BASE ? "base" : lane.tag));
        assertEquals(new TreeMap<>(Shared.map(wanted.getOrDefault("lanes", Collections.emptyMap()))), lanes, place);
        if (wanted.containsKey("baggage")) {
            assertEquals(laneMembers((String) wanted.get("baggage"), groups.keySet()),
                    sent(policy, context, carried, groups), place);
        }
        Map<String, Object> picked = Shared.map(wanted.getOrDefault("picked", Collections.emptyMap()));
        Shared.map(wanted.getOrDefault("hops", Collections.emptyMap())).forEach((name, hop) -> {
            Choice choice = policy.choose(context, services.get(name), (String) picked.get(name),
                    endpoint -> ejected.contains(endpoint.address));
            assertEquals(hop(Shared.map(hop)), hop(choice), place + ": " + name);
        });
    }

    /** What is written, and what was carried and is not known here: that travels on. */
    private static Map<String, String> sent(Policy policy, LaneContext context, Map<String, String> carried,
            Map<String, Map<String, Object>> groups) {
        Map<String, String> sent = new TreeMap<>(policy.written(context));
        carried.forEach((group, tag) -> {
            Map<String, Object> known = groups.get(group);
            if (known != null && Shared.list(known.get("lanes")).stream().noneMatch(lane -> tag.equals(lane.get("tag")))
                    && Names.isTag(tag)) {
                sent.put(group, tag);
            }
        });
        return sent;
    }

    private static Map<String, String> laneMembers(String baggage, Set<String> groups) {
        Map<String, String> members = new TreeMap<>(Shared.carried(baggage));
        members.keySet().retainAll(groups);
        return members;
    }

    private static String hop(Map<String, Object> wanted) {
        Map.Entry<String, Object> only = wanted.entrySet().iterator().next();
        Object value = only.getValue();
        return only.getKey() + " " + (value instanceof List ? new TreeSet<>((List<?>) value) : value);
    }

    private static String hop(Choice choice) {
        Set<String> by = new TreeSet<>();
        choice.endpoints.forEach(endpoint -> by.add(endpoint.address));
        String how = choice.outcome.name().toLowerCase();
        return how + " " + (choice.outcome == Choice.Outcome.REFUSED ? choice.refusal : by);
    }

    private static boolean isEntrance(Map<String, Object> group, Map<String, Object> wanted) {
        Object application = wanted.get("application");
        for (Map<String, Object> entrance : Shared.list(group.get("entrances"))) {
            boolean isHere = application != null
                    ? application.equals(entrance.get("application"))
                    : Shared.text(wanted, "gateway", "edge").equals(entrance.get("gateway"));
            Object routes = entrance.get("routes");
            if (isHere && (routes == null || ((List<?>) routes).contains(wanted.get("route")))) {
                return true;
            }
        }
        return false;
    }

    private static Group group(Map<String, Object> group) {
        List<String> entrances = Shared.list(group.get("entrances")).stream()
                .filter(entrance -> entrance.containsKey("application"))
                .map(entrance -> (String) entrance.get("application"))
                .collect(Collectors.toList());
        List<Lane> lanes = Shared.list(group.get("lanes")).stream().map(CaseFilesTest::lane).collect(Collectors.toList());
        return new Group((String) group.get("name"), entrances, Collections.<String>emptyList(), Shared.words(group.get("applications")), lanes);
    }

    private static Lane lane(Map<String, Object> wanted) {
        Lane lane = new Lane();
        lane.tag = (String) wanted.get("tag");
        lane.enabled = (Boolean) wanted.getOrDefault("enabled", true);
        lane.admitting = (Boolean) wanted.getOrDefault("admitting", true);
        lane.paused = (Boolean) wanted.getOrDefault("paused", false);
        lane.priority = (Integer) wanted.getOrDefault("priority", 0);
        lane.strict = "none".equals(wanted.get("fallback"));
        if (!lane.strict) {
            lane.fallback.addAll(Shared.words(wanted.get("fallback")));
        }
        lane.switchedOff.addAll(Shared.words(wanted.get("switchedOff")));
        lane.byRatio = wanted.containsKey("ratio");
        if (lane.byRatio) {
            Map<String, Object> ratio = Shared.map(wanted.get("ratio"));
            lane.percentHundredths = (int) Math.round(((Number) ratio.get("percent")).doubleValue() * 100);
            lane.stickyBy = ratio.containsKey("stickyBy") ? parameter(Shared.map(ratio.get("stickyBy"))) : null;
        } else {
            Map<String, Object> content = Shared.map(wanted.get("content"));
            lane.meetAny = "any".equals(content.get("meet"));
            Shared.list(content.get("conditions")).forEach(condition -> lane.conditions.add(condition(condition)));
        }
        return lane;
    }

    private static Parameter parameter(Map<String, Object> wanted) {
        if (wanted.containsKey("attribute")) {
            String name = (String) wanted.get("attribute");
            return new Parameter(Parameter.Place.valueOf(name.equals("clientIp") ? "CLIENT_IP" : name.toUpperCase()), "");
        }
        for (String place : new String[] {"header", "query", "cookie", "claim"}) {
            if (wanted.containsKey(place)) {
                return new Parameter(Parameter.Place.valueOf(place.toUpperCase()), (String) wanted.get(place));
            }
        }
        throw new AssertionError("no parameter in " + wanted);
    }

    private static Condition condition(Map<String, Object> wanted) {
        Parameter parameter = parameter(wanted);
        String value = String.valueOf(wanted.get("value"));
        switch ((String) wanted.get("operator")) {
            case "==":
                return new Condition(parameter, Condition.Operator.AMONG, value);
            case "!=":
                return new Condition(parameter, Condition.Operator.NOT_AMONG, value);
            case "in":
                return new Condition(parameter, Condition.Operator.AMONG, Shared.words(wanted.get("values")));
            case "notIn":
                return new Condition(parameter, Condition.Operator.NOT_AMONG, Shared.words(wanted.get("values")));
            case "exists":
                return new Condition(parameter, Condition.Operator.EXISTS, Collections.<String>emptyList());
            case "notExists":
                return new Condition(parameter, Condition.Operator.NOT_EXISTS, Collections.<String>emptyList());
            default:
                String operator = ((String) wanted.get("operator")).toUpperCase();
                return new Condition(parameter, Condition.Operator.valueOf(operator), value);
        }
    }

    private static Service service(Map<String, Object> wanted, Set<String> ejected) {
        List<Endpoint> endpoints = new ArrayList<>();
        for (Map<String, Object> instance : Shared.list(wanted.get("instances"))) {
            Endpoint endpoint = new Endpoint();
            endpoint.address = (String) instance.get("address");
            endpoint.tag = Shared.text(instance, "tag", "");
            endpoint.weight = ((Number) instance.getOrDefault("weight", 1)).longValue();
            String is = Shared.text(instance, "is", "usable");
            endpoint.usable = is.equals("usable") || is.equals("ejected");
            if (is.equals("ejected")) {
                ejected.add(endpoint.address);
            }
            endpoint.otherAddresses.addAll(Shared.words(instance.get("addresses")));
            endpoint.otherAddresses.addAll(Shared.words(instance.get("applications")));
            if (instance.containsKey("application")) {
                endpoint.otherAddresses.add((String) instance.get("application"));
            }
            endpoints.add(endpoint);
        }
        return new Service((String) wanted.get("name"), (String) wanted.get("application"), endpoints);
    }
}
