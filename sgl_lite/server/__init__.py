"""The HTTP server: OpenAI's and SGLang's APIs in front of one local engine.

A request's way: `gate` (id, key, size, disconnect) -> `app` (route, body) -> `chat`, `completions` or `native` (body to
`GenerateRequest`) -> `desk` (queue limit, admission in a thread) -> the local backend; and back as JSON or a stream of
events. Needs the extra `server`; `import sgl_lite` does not come here.
"""
