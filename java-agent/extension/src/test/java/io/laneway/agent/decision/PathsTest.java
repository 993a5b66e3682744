package io.laneway.agent.decision;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class PathsTest {
    @Test
    void paths_have_the_form_that_gateways_give_them() {
        String[][] rows = {
            {"/a/b", "/a/b"}, {"/a.b/..c/d..", "/a.b/..c/d.."}, {"/%61%2d%7e", "/a-~"}, {"/%c3%a9", "/%C3%A9"},
            {"/a%20b", "/a%20b"}, {"/\u00e4", "/%E4"}, {"//a", "//a"},
        };
        for (String[] row : rows) {
            assertEquals(row[1], Paths.normalised(row[0]));
        }
    }

    @Test
    void what_has_no_one_form_is_left_as_it_is() {
        for (String path : new String[] {"/a%2fb", "/%5c%61", "/%61/../b", "/%61/..;x/b", "/%6", "/%zz%61", "/%00%61", "/%61\\"}) {
            assertEquals(path, Paths.normalised(path));
        }
    }
}
