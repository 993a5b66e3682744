package io.laneway.agent.decision;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.yaml.snakeyaml.Yaml;

/** The vectors of {@code crates/lanes/tests/vectors}, by which all languages agree. */
class VectorsTest {
    /**
     * What OpenTelemetry reads otherwise before anyone can ask it: of a key that comes twice the last one, and of a value
     * that is none it reads nothing, which is base as well. Gateways and sidecars send neither.
     */
    private static final List<String> OTHERWISE = Arrays.asList(
            "lane.trade=gray,lane.trade=blue", "lane.trade=gone,lane.trade=gray", "lane.trade=gr ay");

    private static Map<String, Object> load(String name) throws IOException {
        byte[] bytes = Files.readAllBytes(new File(Shared.FOLDER, "vectors/" + name).toPath());
        return Shared.map(new Yaml().load(new String(bytes, StandardCharsets.UTF_8)));
    }

    @Test
    void hashes_are_those_of_every_language() throws IOException {
        for (Map<String, Object> vector : Shared.list(load("hash.json").get("vectors"))) {
            byte[] bytes = ((String) vector.get("text")).getBytes(StandardCharsets.UTF_8);
            long hash = XxHash64.hash(bytes);
            assertEquals(vector.get("hash"), String.format("%016x", hash), () -> "of " + vector.get("text"));
            assertEquals(((Number) vector.get("percent")).longValue(), Long.remainderUnsigned(hash, 100));
        }
    }

    @Test
    void keys_fall_into_the_lanes_of_every_language() throws IOException {
        for (Map<String, Object> vector : Shared.list(load("ratio.json").get("vectors"))) {
            List<Lane> lanes = new ArrayList<>();
            for (Map<String, Object> wanted : Shared.list(vector.get("lanes"))) {
                Lane lane = lane((String) wanted.get("tag"));
                lane.byRatio = true;
                lane.percentHundredths = (Integer) wanted.get("percentHundredths");
                lane.stickyBy = new Parameter(Parameter.Place.HEADER, "uid");
                lanes.add(lane);
            }
            String name = (String) vector.get("group");
            Group group = new Group(name, Collections.singletonList("front"), Collections.<String>emptyList(), Collections.<String>emptyList(), lanes);
            Map<String, Object> request = Collections.singletonMap("headers",
                    Collections.singletonList(Collections.singletonMap("uid", vector.get("key"))));
            LaneContext context = new Policy(Collections.singletonList(group)).read(Collections.<String, String>emptyMap());
            new Policy(Collections.singletonList(group)).enter("front", new CaseRequest(request), () -> new byte[16], context);
            Lane found = context.members().get(name);
            assertEquals(vector.get("lane"), found == LaneContext.BASE ? null : found.tag, vector::toString);
        }
    }

    @Test
    void baggage_is_read_as_in_every_language() throws IOException {
        Map<String, Object> file = load("baggage.json");
        List<Group> groups = new ArrayList<>();
        Shared.map(file.get("groups")).forEach((name, tags) -> {
            List<Lane> lanes = new ArrayList<>();
            Shared.words(tags).forEach(tag -> lanes.add(lane(tag)));
            groups.add(new Group(name, Collections.<String>emptyList(), Collections.<String>emptyList(), Collections.<String>emptyList(), lanes));
        });
        Policy policy = new Policy(groups);
        int read = 0;
        for (Map<String, Object> vector : Shared.list(file.get("read"))) {
            String header = String.join(",", Shared.words(vector.get("baggage")));
            if (OTHERWISE.stream().anyMatch(header::startsWith)) {
                continue;
            }
            LaneContext context = policy.read(Shared.carried(header));
            Map<String, Object> lanes = new TreeMap<>();
            context.members().forEach((group, lane) -> lanes.put(group, lane == LaneContext.BASE ? null : lane.tag));
            assertEquals(new TreeMap<>(Shared.map(vector.get("lanes"))), lanes, vector::toString);
            assertEquals(vector.getOrDefault("unknownTags", 0), context.unknownTags(), vector::toString);
            read++;
        }
        assertTrue(read > 15);
    }

    private static Lane lane(String tag) {
        Lane lane = new Lane();
        lane.tag = tag;
        lane.enabled = true;
        lane.admitting = true;
        return lane;
    }
}
