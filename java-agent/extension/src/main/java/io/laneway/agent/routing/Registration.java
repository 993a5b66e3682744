package io.laneway.agent.routing;

import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;

/**
 * What this process adds to its registrations, under whatever name and in whatever registry: its tag, and its application
 * where that is named. What the application says itself stays.
 */
public final class Registration {
    private static final String APPLICATION = "laneway.io/application";
    /** Where a registration may say its tag; the last is the JSON that MSE's agent writes. */
    private static final String[] TAGS = {OwnTags.TAG, OwnTags.ALICLOUD_TAG, "__micro.service.env__"};

    private final String tag;
    private final String application;
    private volatile boolean isContradicted;

    /** Empty is untold. */
    public Registration(String tag, String application) {
        this.tag = tag;
        this.application = application;
    }

    /** Returns {@code metadata} with what is missing in it, or itself where nothing is; {@code log} hears of a tag that differs. */
    Map<String, String> complete(Map<String, String> metadata, Consumer<String> log) {
        Map<String, String> complete = new HashMap<>(metadata);
        String said = said(metadata);
        isContradicted |= said != null && !said.equals(tag);
        if (!tag.isEmpty() && said == null) {
            complete.put(OwnTags.TAG, tag);
        } else if (!tag.isEmpty() && !said.equals(tag) && !said.startsWith("[") && !said.startsWith("{")) {
            log.accept("this process registers with the tag `" + said + "`, and is started with `" + tag + "`: the registration's holds");
        }
        if (!application.isEmpty() && isNothing(metadata.get(APPLICATION))) {
            complete.put(APPLICATION, application);
        }
        return complete.equals(metadata) ? metadata : complete;
    }

    /** Whether this process knows its own tag: it was told, be it the base, and no registration of it says another. */
    public boolean isTagKnown() {
        return !tag.isEmpty() && !isContradicted;
    }

    private static String said(Map<String, String> metadata) {
        for (String key : TAGS) {
            if (!isNothing(metadata.get(key))) {
                return metadata.get(key).trim();
            }
        }
        return null;
    }

    private static boolean isNothing(String text) {
        return text == null || text.trim().isEmpty();
    }
}
