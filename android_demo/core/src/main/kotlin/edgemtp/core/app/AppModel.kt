package edgemtp.core.app

import edgemtp.core.bundle.BundleException
import edgemtp.core.bundle.BundleFacts
import edgemtp.core.bundle.BundleStore
import edgemtp.core.bundle.ImportSource
import edgemtp.core.bundle.NotEnoughSpaceException
import edgemtp.core.device.DeviceFacts
import edgemtp.core.device.DeviceProbe
import edgemtp.core.device.Time
import edgemtp.core.engine.EngineFactory
import edgemtp.core.engine.EngineRefused
import edgemtp.core.json.FormatException
import edgemtp.core.log.FileSink
import edgemtp.core.log.recoverLogs
import edgemtp.core.plan.Plan
import edgemtp.core.plan.builtInPlan
import edgemtp.core.plan.readPlan
import edgemtp.core.run.Notice
import edgemtp.core.run.RunMachine
import edgemtp.core.run.RunOutcome
import edgemtp.core.run.RunSpec
import edgemtp.core.run.RuntimeChoice
import edgemtp.core.run.Setting
import edgemtp.core.run.speedUp
import java.io.File
import java.io.IOException
import java.io.OutputStream
import java.util.concurrent.Executor

/** Name of the plan that the app brings along. */
const val BUILT_IN_PLAN: String = "built-in"

private const val BUILT_IN_SEED = 1L

/** Everything outside that the app needs; tests put simulated phones here. */
class Surroundings(
    /** Where bundles, plans and logs lie; `adb push` and `adb pull` reach it. */
    val directory: File,
    val time: Time,
    val probe: DeviceProbe,
    val facts: DeviceFacts,
    val engines: EngineFactory,
    val choice: RuntimeChoice,
    /** One thread for what takes long. */
    val worker: Executor,
    /** Now, RFC 3339 with offset. */
    val wallTime: () -> String,
    /** A fresh UUID, lower case. */
    val newRun: () -> String,
    val freeBytes: () -> Long,
)

/** The app without its screen: lives as long as the process, so that a rotation loses nothing. */
class AppModel(
    private val world: Surroundings,
) {
    private val store = BundleStore(world.directory, world.freeBytes)
    private val logDirectory = File(world.directory, "logs")
    private val planDirectory = File(world.directory, "plans")
    private var chat: ChatSession? = null

    @Volatile private var machine: RunMachine? = null

    @Volatile private var importCancelled = false

    @Volatile private var hidden = false

    @Volatile private var observer: (UiState) -> Unit = {}

    /** What the screen shows now. */
    @Volatile
    var state: UiState = UiState.Choosing(emptyList(), emptyList(), emptyList(), emptyList())
        private set

    /** Gets the present state and every later one, from any thread; replaces the observer before. */
    fun observe(next: (UiState) -> Unit) {
        observer = next
        next(state)
    }

    /** Makes the folders, marks runs that a kill interrupted, and lists what is there. */
    fun start() {
        logDirectory.mkdirs()
        planDirectory.mkdirs()
        val marked = recoverLogs(logDirectory, world.wallTime())
        choose(
            listOfNotNull(
                marked.takeIf { it.isNotEmpty() }?.let { files ->
                    Notice.Interrupted(files.map { it.name })
                },
            ),
        )
    }

    /** Leaves a chat or an ended run and shows the lists again. */
    fun leave() {
        chat?.cancel()
        inBackground {
            chat?.close()
            chat = null
            choose(emptyList())
        }
    }

    /** Copies [source] into the app. */
    fun import(source: ImportSource): Unit =
        inBackground {
            importCancelled = false
            store.import(
                source,
                { done -> show(UiState.Busy(Task.IMPORTING, done, source.bytes)) },
                { importCancelled },
            )
            choose(emptyList())
        }

    /** Checks and loads the bundle called [name], for a chat. */
    fun open(name: String): Unit =
        inBackground {
            val facts = check(name)
            show(UiState.Busy(Task.LOADING, 0, null))
            val missing = world.probe.read(withHeadroom = false).missingSensors()
            val started = startEngine(world.engines, facts, world.choice)
            val said = started.notices + listOfNotNull(missing.takeIf { it.isNotEmpty() }?.let(Notice::SensorsMissing))
            val session = ChatSession(name, StartedEngine(started.engine, started.canDraft, said), world.time, ::show)
            chat = session
            session.show()
        }

    /** The chat's MTP switch. */
    fun switchDrafting(on: Boolean) {
        chat?.switchTo(on)
    }

    /** Sends [prompt] in the chat. */
    fun send(prompt: String): Unit = inBackground { chat?.send(prompt) }

    /** Runs the plan called [planName] with the bundle called [bundleName], unattended. */
    fun run(
        bundleName: String,
        planName: String,
        setting: Setting,
    ): Unit =
        inBackground {
            val plan = plan(planName)
            val facts = check(bundleName)
            val run = world.newRun()
            val log = File(logDirectory, "$run.jsonl")
            val spec = RunSpec(run, world.wallTime(), plan, facts, world.choice, setting, world.facts)
            val said = beforeRun(facts)
            show(UiState.Running(log.name, null, said))
            val started =
                RunMachine(spec, world.engines, world.probe, world.time, FileSink(log)) {
                    show(UiState.Running(log.name, it, said))
                }
            machine = started
            if (hidden) started.background()
            val outcome = started.run()
            machine = null
            show(ended(log, plan, outcome, said))
        }

    /** Ends what is going on: a reply, a run or an import. */
    fun stop() {
        importCancelled = true
        machine?.stop()
        chat?.cancel()
    }

    /** The app left the screen. */
    fun background() {
        hidden = true
        machine?.background()
    }

    /** The app is back on the screen; what adb pushed meanwhile is listed. */
    fun foreground() {
        hidden = false
        machine?.foreground()
        if (state is UiState.Choosing) inBackground { (state as? UiState.Choosing)?.let { choose(it.notices) } }
    }

    /** The system said that memory is short. */
    fun memoryWarning() {
        machine?.memoryWarning()
    }

    /** Copies the log called [name] to what [open] gives. */
    fun export(
        name: String,
        open: () -> OutputStream,
    ): Unit = inBackground { File(logDirectory, name).inputStream().use { input -> open().use { input.copyTo(it) } } }

    private fun beforeRun(facts: BundleFacts): List<Notice> {
        val now = world.probe.read(withHeadroom = false)
        return listOfNotNull(
            Notice.NoDrafter.takeIf { !facts.hasDrafter },
            Notice.ChargerPlugged.takeIf { now.charging == true },
            now.missingSensors().takeIf { it.isNotEmpty() }?.let(Notice::SensorsMissing),
        )
    }

    private fun ended(
        log: File,
        plan: Plan,
        outcome: RunOutcome,
        said: List<Notice>,
    ): UiState {
        val ratio = speedUp(outcome.trials, plan.seed)
        val line =
            when {
                ratio == null -> "no pair counted"

                ratio.low == null || ratio.high == null -> "MTP × ${shown(ratio.value)}, one pair"

                else -> "MTP × ${shown(
                    ratio.value,
                )} (${shown(ratio.low)} to ${shown(ratio.high)}), ${ratio.pairs} pairs"
            }
        return UiState.Ended(log.name, outcome.reason, line, (outcome.notices + said).distinct())
    }

    private fun plan(name: String): Plan =
        if (name == BUILT_IN_PLAN) builtInPlan(BUILT_IN_SEED) else readPlan(File(planDirectory, name).readText())

    private fun check(name: String): BundleFacts {
        val file = File(world.directory, name)
        return store.facts(file) { done -> show(UiState.Busy(Task.CHECKING, done, file.length())) }
    }

    private fun choose(notices: List<Notice>) {
        val plans =
            planDirectory
                .list()
                .orEmpty()
                .filter { it.endsWith(".json") }
                .sorted()
        val logs =
            logDirectory
                .list()
                .orEmpty()
                .filter { it.endsWith(".jsonl") }
                .sorted()
        show(UiState.Choosing(store.files().map { it.name }, listOf(BUILT_IN_PLAN) + plans, logs, notices))
    }

    private fun inBackground(step: () -> Unit) {
        world.worker.execute {
            try {
                step()
            } catch (error: NotEnoughSpaceException) {
                choose(listOf(Notice.NotEnoughSpace(error.neededBytes, error.freeBytes)))
            } catch (error: BundleException) {
                choose(listOf(Notice.BadFile(error.message.orEmpty())))
            } catch (error: FormatException) {
                choose(listOf(Notice.BadFile("The plan cannot be read: ${error.message}")))
            } catch (error: IOException) {
                choose(listOf(Notice.BadFile("The file cannot be read or written: ${error.message}")))
            } catch (error: EngineRefused) {
                choose(listOf(Notice.RuntimeRefused(error.message.orEmpty())))
            } catch (_: OutOfMemoryError) {
                choose(listOf(Notice.OutOfMemory))
            } catch (error: RuntimeException) {
                choose(listOf(Notice.Unexpected(error.toString())))
            }
        }
    }

    private fun show(next: UiState) {
        state = next
        observer(next)
    }
}
