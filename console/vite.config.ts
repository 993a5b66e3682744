// What the control plane serves is built here: files named by their content under /assets, no inline script or style.
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: "dist/site",
    emptyOutDir: true,
    target: "es2023",
    // Everything is a file of its own: a data: URL would need a looser policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  // `npx vite` shows pages as they are edited, with the API of a demo that runs.
  server: { proxy: { "/api": { target: "http://127.0.0.1:7600", changeOrigin: true, headers: { origin: "http://127.0.0.1:7600" } } } },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
