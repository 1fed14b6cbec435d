package edgemtp.demo

import android.content.Context
import edgemtp.core.device.Time
import edgemtp.core.engine.Backend
import edgemtp.core.engine.EngineFactory
import edgemtp.core.engine.ScriptedEngineFactory
import edgemtp.core.run.RuntimeChoice

/** A script is played. */
internal val RUNTIME_CHOICE: RuntimeChoice = RuntimeChoice(Backend.SCRIPTED)

/** No model: what the app shows and logs can be tried on any phone. */
@Suppress("UNUSED_PARAMETER")
internal fun engineFactory(
    context: Context,
    time: Time,
): EngineFactory = ScriptedEngineFactory(time)
