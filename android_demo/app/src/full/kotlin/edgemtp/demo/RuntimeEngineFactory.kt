package edgemtp.demo

import edgemtp.core.engine.Engine
import edgemtp.core.engine.EngineFactory
import edgemtp.core.engine.EngineSettings
import edgemtp.core.engine.Reply
import edgemtp.core.engine.Request
import edgemtp.core.engine.failing
import edgemtp.core.engine.refusing
import java.io.File

/** LiteRT-LM as the app's engine. It keeps repacked weights in [cache], and says in [nativeLog] what it accepted. */
internal class RuntimeEngineFactory(
    private val cache: File,
    private val nativeLog: () -> List<String>,
) : EngineFactory {
    override val name: String = "LiteRT-LM"
    override val version: String = "0.18.0"

    override fun cacheIsWarm(bundlePath: String): Boolean =
        cache.list().orEmpty().any { it.startsWith(File(bundlePath).name) }

    override fun load(settings: EngineSettings): Engine =
        refusing {
            val runtime = startRuntime(settings, cache)
            object : Engine {
                private val lock = Any()
                private var cancelRunning: (() -> Unit)? = null

                override fun generate(
                    request: Request,
                    onChunk: (String) -> Unit,
                ): Reply =
                    failing {
                        val conversation = runtime.converse(request)
                        synchronized(lock) { cancelRunning = conversation::cancelProcess }
                        try {
                            conversation.ask(request.prompt, onChunk)
                        } finally {
                            synchronized(lock) { cancelRunning = null }
                            conversation.close()
                        }
                    }

                override fun cancel() {
                    synchronized(lock) { cancelRunning?.invoke() }
                }

                /** The success rate is logged as the engine goes; what was there before is not this engine's. */
                override fun close(): List<String> {
                    val before = nativeLog().toSet()
                    runtime.close()
                    return nativeLog().filter { it !in before }
                }
            }
        }
}
