"""Programs for web pages: WebAssembly, built by clang or zig, run by Node and by browsers (docs/browser.md)."""
