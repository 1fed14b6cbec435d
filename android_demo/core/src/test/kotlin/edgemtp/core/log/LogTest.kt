package edgemtp.core.log

import edgemtp.core.golden
import edgemtp.core.json.integer
import edgemtp.core.json.jsonOf
import edgemtp.core.json.readJson
import edgemtp.core.json.readJsonObject
import edgemtp.core.json.text
import edgemtp.core.json.writeJson
import edgemtp.core.simulated.RUN
import edgemtp.core.simulated.SimulatedTime
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.io.File
import kotlin.test.assertEquals
import kotlin.test.assertTrue

class LogTest {
    @TempDir
    lateinit var directory: File

    @Test
    fun `golden logs are read and written again character by character`() {
        val logs = golden("").listFiles { file -> file.name.endsWith(".jsonl") }.orEmpty()
        assertTrue(logs.size >= 6)
        logs.filter { it.name != "interrupted.jsonl" && it.name != "interrupted-resumed.jsonl" }.forEach { file ->
            file.forEachLine { assertEquals(it, writeJson(readJson(it)), file.name) }
        }
    }

    @Test
    fun `a run that was cut off is marked as every language does`() {
        val log = File(directory, "run.jsonl")
        golden("interrupted.jsonl").copyTo(log)
        val wallTime = "2026-03-01T12:31:00.000+01:00"
        assertEquals(listOf(log), recoverLogs(directory, wallTime))
        assertEquals(golden("interrupted-resumed.jsonl").readText(), log.readText())
        assertEquals(emptyList(), recoverLogs(directory, wallTime), "once is enough")
    }

    @Test
    fun `runs that ended, empty files and other files are left alone`() {
        golden("paired.jsonl").copyTo(File(directory, "ended.jsonl"))
        File(directory, "empty.jsonl").writeText("")
        File(directory, "garbage.jsonl").writeText("{\"v\":1}\nnot json\n")
        File(directory, "notes.txt").writeText("{")
        assertEquals(emptyList(), recoverLogs(directory, "2026-03-01T12:31:00.000+01:00"))
        assertEquals(golden("paired.jsonl").readText(), File(directory, "ended.jsonl").readText())
    }

    @Test
    fun `a log whose last line is whole gets no empty line`() {
        val log = File(directory, "whole.jsonl")
        log.writeText(golden("paired.jsonl").readLines().take(5).joinToString("\n") + "\n")
        recoverLogs(directory, "2026-03-01T12:31:00.000+01:00")
        assertEquals(6, log.readLines().size)
        assertEquals("interrupted", readJsonObject(log.readLines().last()).text("name"))
    }

    @Test
    fun `records are numbered, and their time never falls`() {
        val time = SimulatedTime()
        val file = File(directory, "$RUN.jsonl")
        LogWriter(FileSink(file), RUN, time).use { log ->
            log.event("background")
            time.sleepMs(1500)
            log.event("thermal_change", 1)
            log.write(Kind.TRIAL, jsonOf("index" to 0))
            assertEquals(3, file.readLines().size, "lines are there before the log is closed")
        }
        val records = file.readLines().map(::readJsonObject)
        assertEquals(listOf(0L, 1L, 2L), records.map { it.integer("seq") })
        assertEquals(listOf(0L, 1500L, 1500L), records.map { it.integer("t_ms") })
        val first = """{"v":1,"kind":"event","run":"$RUN","seq":0,"t_ms":0,"name":"background"}"""
        assertEquals(first, file.readLines().first())
    }
}
