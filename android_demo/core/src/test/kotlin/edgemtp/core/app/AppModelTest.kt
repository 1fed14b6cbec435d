package edgemtp.core.app

import edgemtp.core.bundle.ImportSource
import edgemtp.core.bundle.bundleBytes
import edgemtp.core.bundle.manifestText
import edgemtp.core.engine.Backend
import edgemtp.core.golden
import edgemtp.core.json.integer
import edgemtp.core.json.readJsonObject
import edgemtp.core.json.text
import edgemtp.core.json.texts
import edgemtp.core.run.EndReason
import edgemtp.core.run.Notice
import edgemtp.core.run.RuntimeChoice
import edgemtp.core.run.Setting
import edgemtp.core.simulated.Behaviour
import edgemtp.core.simulated.FACTS
import edgemtp.core.simulated.RUN
import edgemtp.core.simulated.SimulatedEngines
import edgemtp.core.simulated.SimulatedPhone
import edgemtp.core.simulated.SimulatedTime
import edgemtp.core.simulated.WALL_TIME
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.io.ByteArrayInputStream
import java.io.ByteArrayOutputStream
import java.io.File
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertNull
import kotlin.test.assertTrue

private const val BUNDLE = "a.litertlm"

class AppModelTest {
    @TempDir
    lateinit var directory: File

    private val time = SimulatedTime()
    private val phone = SimulatedPhone(time)
    private val states = mutableListOf<UiState>()
    private var freeBytes = Long.MAX_VALUE

    private fun model(
        behaviour: Behaviour = Behaviour(),
        hasDrafter: Boolean? = true,
    ): AppModel {
        if (hasDrafter != null) File(directory, BUNDLE).writeBytes(bundleBytes(hasDrafter))
        val world =
            Surroundings(
                directory = directory,
                time = time,
                probe = phone,
                facts = FACTS,
                engines = SimulatedEngines(time, phone, behaviour),
                choice = RuntimeChoice(Backend.GPU),
                worker = { it.run() },
                wallTime = { WALL_TIME },
                newRun = { RUN },
                freeBytes = { freeBytes },
            )
        return AppModel(world).also { it.start() }.also { model -> model.observe { states += it } }
    }

    private fun chat(): UiState.Chat = assertIs<UiState.Chat>(states.last())

    @Test
    fun `an empty phone offers the built-in plan and nothing else`() {
        val state = assertIs<UiState.Choosing>(model(hasDrafter = null).state)
        assertEquals(UiState.Choosing(emptyList(), listOf(BUILT_IN_PLAN), emptyList(), emptyList()), state)
    }

    @Test
    fun `what was pushed is listed when the app comes back, and what was said stays`() {
        File(directory, "logs").mkdirs()
        golden("interrupted.jsonl").copyTo(File(directory, "logs/$RUN.jsonl"))
        val model = model(hasDrafter = null)
        File(directory, BUNDLE).writeBytes(bundleBytes())
        model.background()
        model.foreground()
        val state = assertIs<UiState.Choosing>(model.state)
        assertEquals(listOf(BUNDLE), state.bundles)
        assertIs<Notice.Interrupted>(state.notices.single())
        model.open(BUNDLE)
        model.foreground()
        assertIs<UiState.Chat>(model.state)
    }

    @Test
    fun `bundles come by picker, with progress`() {
        val model = model(hasDrafter = null)
        val bytes = bundleBytes()
        model.import(ImportSource(BUNDLE, bytes.size.toLong()) { ByteArrayInputStream(bytes) })
        assertEquals(Task.IMPORTING, assertIs<UiState.Busy>(states[1]).task)
        assertEquals(listOf(BUNDLE), assertIs<UiState.Choosing>(states.last()).bundles)
        freeBytes = 10
        model.import(ImportSource(BUNDLE, bytes.size.toLong()) { ByteArrayInputStream(bytes) })
        assertIs<Notice.NotEnoughSpace>(model.state.notices.single())
        freeBytes = Long.MAX_VALUE
        model.import(ImportSource(BUNDLE, 3) { throw java.io.IOException("the provider is gone") })
        assertTrue(
            "the provider is gone" in
                model.state.notices
                    .single()
                    .text,
        )
    }

    @Test
    fun `a chat shows live figures, estimated until the reply has ended`() {
        val model = model()
        model.open(BUNDLE)
        assertTrue(chat().canDraft && chat().speculative)
        model.switchDrafting(false)
        assertFalse(chat().speculative)
        model.send("Hello?")
        val live = states.filterIsInstance<UiState.Chat>().filter { it.replying && it.figures != null }
        assertEquals(10.0, live.last().figures?.tokensPerSecond ?: 0.0, 0.01)
        assertTrue(
            "≈ 10.00 tok/s" in
                live
                    .last()
                    .figures
                    ?.line()
                    .orEmpty(),
        )
        assertEquals(1.0, chat().figures?.tokensPerCycle)
        assertEquals(600.0, chat().figures?.ttftMs)
        model.switchDrafting(true)
        model.send("Again?")
        val drafting = states.filterIsInstance<UiState.Chat>().last { it.replying && it.turns.size == 2 }
        assertNull(drafting.figures?.tokensPerSecond, "nothing is known of drafting before the first reply with it")
        assertEquals(2.0, chat().figures?.tokensPerCycle)
        assertTrue(checkNotNull(chat().figures).final)
        assertEquals(listOf("Hello?", "Again?"), chat().turns.map { it.prompt })
        assertEquals(chat().turns[0].reply, chat().turns[1].reply)
        model.leave()
        assertIs<UiState.Choosing>(states.last())
    }

    @Test
    fun `a bundle without drafter keeps the switch off`() {
        val model = model(hasDrafter = false)
        model.open(BUNDLE)
        assertEquals(listOf<Notice>(Notice.NoDrafter), chat().notices)
        model.switchDrafting(true)
        assertFalse(chat().speculative)
    }

    @Test
    fun `an engine that does not start with drafting chats without`() {
        model(Behaviour(refusesDrafting = true)).open(BUNDLE)
        assertEquals(Notice.FellBack("TF_LITE_MTP_DRAFTER not found"), chat().notices.single())
        assertFalse(chat().canDraft)
    }

    @Test
    fun `a runtime that silently does not draft is told in the chat`() {
        val model = model(Behaviour(drafts = false))
        model.open(BUNDLE)
        model.send("Hello?")
        assertEquals(Notice.NotDrafting(1.0), chat().notices.single())
        model.switchDrafting(false)
        model.send("Hello?")
        assertEquals(emptyList(), chat().notices)
    }

    @Test
    fun `failures are told where they happen`() {
        model(Behaviour(refusesAll = true)).open(BUNDLE)
        assertIs<Notice.RuntimeRefused>(states.last().notices.single())
        model(Behaviour(outOfMemoryAtLoad = true)).open(BUNDLE)
        assertEquals(Notice.OutOfMemory, states.last().notices.single())
        val spoilt = mapOf(Behaviour(failsFrom = 0) to "failed", Behaviour(outOfMemoryFrom = 0) to "memory")
        for ((behaviour, word) in spoilt) {
            val model = model(behaviour)
            model.open(BUNDLE)
            model.send("Hello?")
            assertTrue(word in chat().notices.single().text)
            assertFalse(chat().replying)
        }
        File(directory, "$BUNDLE.json").writeText(manifestText(bundleBytes(false)))
        model().open(BUNDLE)
        assertIs<Notice.BadFile>(states.last().notices.single())
    }

    @Test
    fun `a phone that lacks sensors is told so when a chat begins`() {
        phone.dumb = true
        model().open(BUNDLE)
        assertIs<Notice.SensorsMissing>(chat().notices.single())
    }

    @Test
    fun `a reply can be stopped`() {
        val model = model()
        model.open(BUNDLE)
        time.inSeconds(1.0) { model.stop() }
        model.send("Hello?")
        assertTrue(
            chat()
                .turns
                .single()
                .reply.length < 30,
        )
    }

    @Test
    fun `a run is logged, shown and exported`() {
        val model = model()
        phone.lowPower = true
        time.inSeconds(40.0) { phone.lowPower = false }
        time.inSeconds(41.0) { model.memoryWarning() }
        model.run(BUNDLE, BUILT_IN_PLAN, Setting(note = "test"))
        val ended = assertIs<UiState.Ended>(states.last())
        assertEquals(EndReason.FINISHED, ended.reason)
        assertTrue(ended.speedUp.startsWith("MTP × 1.54 ("), ended.speedUp)
        assertTrue(
            states.filterIsInstance<UiState.Running>().any {
                it.progress
                    ?.waitingFor
                    .orEmpty()
                    .isEmpty()
            },
        )
        val copy = ByteArrayOutputStream()
        model.export(ended.log) { copy }
        assertEquals(File(directory, "logs/$RUN.jsonl").readText(), copy.toString())
        model.leave()
        assertEquals(listOf("$RUN.jsonl"), assertIs<UiState.Choosing>(states.last()).logs)
    }

    @Test
    fun `a log that cannot be saved is said, and is still there`() {
        File(directory, "logs").mkdirs()
        File(directory, "logs/x.jsonl").writeText("{}")
        val model = model()
        model.export("x.jsonl") { throw java.io.IOException("the card is full") }
        assertTrue(
            "the card is full" in
                model.state.notices
                    .single()
                    .text,
        )
        assertEquals(listOf("x.jsonl"), assertIs<UiState.Choosing>(model.state).logs)
    }

    @Test
    fun `what nobody foresaw is said`() {
        val model = model()
        model.import(ImportSource(BUNDLE, 3) { throw SecurityException("revoked") })
        assertEquals(Notice.Unexpected("java.lang.SecurityException: revoked"), model.state.notices.single())
    }

    @Test
    fun `a run that starts while the app is hidden says so first, and waits`() {
        val model = model()
        model.background()
        time.inSeconds(60.0) { model.foreground() }
        model.run(BUNDLE, BUILT_IN_PLAN, Setting())
        val log = File(directory, "logs/$RUN.jsonl").readLines()
        assertTrue("\"run\"" in log[0] && "\"background\"" in log[1])
        val trials = log.map(::readJsonObject).filter { it.text("kind") == "trial" }
        assertTrue(trials.first().integer("start_t_ms") >= 59_000)
        assertTrue(trials.none { "background" in it.texts("invalid_reasons") })
    }

    @Test
    fun `a new observer, as after a rotation, sees where the run is`() {
        val model = model()
        val seen = mutableListOf<UiState>()
        time.inSeconds(40.0) { model.observe { seen += it } }
        time.inSeconds(41.0) { model.background() }
        time.inSeconds(42.0) { model.foreground() }
        model.run(BUNDLE, BUILT_IN_PLAN, Setting())
        assertIs<UiState.Running>(seen.first())
        assertIs<UiState.Ended>(seen.last())
        val log = File(directory, "logs/$RUN.jsonl").readText()
        assertTrue("\"background\"" in log && "\"foreground\"" in log)
    }

    @Test
    fun `a stop ends the run`() {
        val model = model()
        time.inSeconds(40.0) { model.stop() }
        model.run(BUNDLE, BUILT_IN_PLAN, Setting())
        val ended = assertIs<UiState.Ended>(states.last())
        assertEquals(EndReason.STOPPED, ended.reason)
        assertEquals("no pair counted", ended.speedUp)
    }

    @Test
    fun `a charger and a missing drafter are told before the run starts`() {
        phone.charging = true
        val model = model(hasDrafter = false)
        time.inSeconds(60.0) { model.stop() }
        model.run(BUNDLE, BUILT_IN_PLAN, Setting())
        val running = states.filterIsInstance<UiState.Running>().first()
        assertEquals(listOf<Notice>(Notice.NoDrafter, Notice.ChargerPlugged), running.notices)
    }

    @Test
    fun `plans are pushed, and a damaged one is refused`() {
        File(directory, "plans").mkdirs()
        golden("plan-abba.json").copyTo(File(directory, "plans/good.json"))
        File(directory, "plans/bad.json").writeText("{}")
        val model = model()
        assertEquals(listOf(BUILT_IN_PLAN, "bad.json", "good.json"), assertIs<UiState.Choosing>(model.state).plans)
        model.run(BUNDLE, "bad.json", Setting())
        assertTrue(
            "The plan cannot be read" in
                states
                    .last()
                    .notices
                    .single()
                    .text,
        )
        model.run(BUNDLE, "good.json", Setting())
        assertIs<UiState.Ended>(states.last())
    }

    @Test
    fun `a run that a kill cut off is told at the next start`() {
        File(directory, "logs").mkdirs()
        golden("interrupted.jsonl").copyTo(File(directory, "logs/$RUN.jsonl"))
        val state = model().state
        assertEquals(listOf<Notice>(Notice.Interrupted(listOf("$RUN.jsonl"))), state.notices)
        assertEquals(emptyList(), model().state.notices)
    }
}
