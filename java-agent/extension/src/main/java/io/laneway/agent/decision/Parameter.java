package io.laneway.agent.decision;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;

/** Where a condition reads its values in a request (semantics §4). Values are bytes, one per char: see {@link Bytes}. */
public final class Parameter {
    /** The places there are. */
    public enum Place { HEADER, QUERY, COOKIE, CLAIM, PATH, METHOD, HOST, CLIENT_IP }

    final Place place;
    private final String name;

    /** With the name of the header, query parameter, cookie or claim; empty for the others. */
    public Parameter(Place place, String name) {
        this.place = place;
        this.name = Bytes.of(place == Place.HEADER ? name.toLowerCase(Locale.ROOT) : name);
    }

    /** Every value it has in a request, in order of appearance; none where it is absent. */
    List<String> values(Request request) {
        List<String> values = new ArrayList<>();
        switch (place) {
            case HEADER:
                for (String[] field : request.headers()) {
                    if (field[0].toLowerCase(Locale.ROOT).equals(name)) {
                        values.add(Bytes.trim(field[1]));
                    }
                }
                return values;
            case QUERY:
                for (String pair : request.query().split("&")) {
                    int at = pair.indexOf('=');
                    String key = at < 0 ? pair : pair.substring(0, at);
                    if (!pair.isEmpty() && Bytes.decodeQuery(key).equals(name)) {
                        values.add(Bytes.trim(Bytes.decodeQuery(at < 0 ? "" : pair.substring(at + 1))));
                    }
                }
                return values;
            case COOKIE:
                cookies(request, values);
                return values;
            case CLAIM:
                String claim = request.claim(name);
                return claim == null ? values : Collections.singletonList(Bytes.trim(claim));
            case PATH:
                return Collections.singletonList(request.path());
            case METHOD:
                return Collections.singletonList(request.method());
            case HOST:
                return Collections.singletonList(request.host());
            default:
                return Collections.singletonList(Addresses.text(request.clientIp()));
        }
    }

    private void cookies(Request request, List<String> values) {
        for (String[] field : request.headers()) {
            if (!field[0].equalsIgnoreCase("cookie")) {
                continue;
            }
            for (String raw : field[1].split(";")) {
                String pair = Bytes.trim(raw);
                int at = pair.indexOf('=');
                if (!pair.isEmpty() && Bytes.trim(at < 0 ? pair : pair.substring(0, at)).equals(name)) {
                    String value = at < 0 ? "" : Bytes.trim(pair.substring(at + 1));
                    values.add(Bytes.trim(Bytes.decodePercent(value)));
                }
            }
        }
    }
}
