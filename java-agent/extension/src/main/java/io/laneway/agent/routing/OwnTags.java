package io.laneway.agent.routing;

import io.laneway.agent.bridge.Instance;
import io.laneway.agent.decision.Names;
import java.util.ArrayList;
import java.util.Collections;
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

    private OwnTags() {}

    static List<Instance> allowed(List<Instance> registered, Map<String, String> carried) {
        for (String tag : new TreeMap<>(carried).values()) {
            List<Instance> tagged = Names.isTag(tag) ? with(tag, registered) : Collections.<Instance>emptyList();
            if (!tagged.isEmpty()) {
                return tagged;
            }
        }
        List<Instance> base = with("", registered);
        return base.size() == registered.size() ? registered : base;
    }

    private static List<Instance> with(String tag, List<Instance> registered) {
        List<Instance> found = new ArrayList<>();
        for (Instance instance : registered) {
            if (tag(instance).equals(tag)) {
                found.add(instance);
            }
        }
        return found;
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
