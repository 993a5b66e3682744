package io.laneway.agent.routing;

import io.laneway.agent.bridge.Allowed;
import io.laneway.agent.bridge.Instance;
import io.laneway.agent.decision.Names;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * The choice where no control plane has ever been heard: instances with the tag that a request carries, else those
 * without one. Base never reaches a tagged instance all the same.
 */
final class OwnTags {
    static final String TAG = "laneway.io/tag";
    static final String ALICLOUD_TAG = "alicloud.service.tag";
    private static final String[] KEYS = {TAG, ALICLOUD_TAG};

    private final Map<String, Allowed> byTag = new HashMap<>();

    /** Of a list as its registry tells it now. */
    OwnTags(List<Instance> registered) {
        Map<String, List<Instance>> tagged = new HashMap<>();
        tagged.put("", new ArrayList<>());
        for (Instance instance : registered) {
            tagged.computeIfAbsent(tag(instance), tag -> new ArrayList<>()).add(instance);
        }
        tagged.forEach((tag, all) -> {
            // Without any tag the list is the application's own.
            boolean isWhole = all.size() == registered.size();
            byTag.put(tag, new Allowed(isWhole ? registered : Collections.unmodifiableList(all)));
        });
    }

    Allowed allowed(Map<String, String> carried) {
        for (String tag : carried.isEmpty() ? carried.values() : new TreeMap<>(carried).values()) {
            Allowed tagged = Names.isTag(tag) ? byTag.get(tag) : null;
            if (tagged != null) {
                return tagged;
            }
        }
        return byTag.get("");
    }

    /** Empty for the base. One that is no valid tag is nobody's, never the base. */
    static String tag(Instance instance) {
        for (String key : KEYS) {
            String tag = instance.metadata.get(key);
            if (tag != null) {
                return Names.isBase(tag) ? "" : tag;
            }
        }
        return "";
    }

    /** What says a tag. */
    static Map<String, String> metadata(String tag) {
        return tag.isEmpty() ? Collections.<String, String>emptyMap() : Collections.singletonMap(TAG, tag);
    }
}
