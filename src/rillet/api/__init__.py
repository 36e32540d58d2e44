"""The public functions by topic; `import rillet` exports them all."""
