package edgemtp.demo

import android.content.Context
import edgemtp.core.device.Time
import edgemtp.core.engine.Backend
import edgemtp.core.engine.EngineFactory
import edgemtp.core.run.RuntimeChoice

/** The GPU, one engine for both arms; activations as the bundle says. */
internal val RUNTIME_CHOICE: RuntimeChoice = RuntimeChoice(Backend.GPU)

/** LiteRT-LM. */
@Suppress("UNUSED_PARAMETER")
internal fun engineFactory(
    context: Context,
    time: Time,
): EngineFactory = RuntimeEngineFactory(context.cacheDir, ::nativeLog)
