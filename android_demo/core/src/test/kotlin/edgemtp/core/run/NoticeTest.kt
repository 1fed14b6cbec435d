package edgemtp.core.run

import org.junit.jupiter.api.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue

class NoticeTest {
    @Test
    fun `each message says what was found and what to do`() {
        val words =
            mapOf(
                Notice.NoDrafter to "no drafter",
                Notice.RuntimeRefused("X not found") to "refuses this bundle: X not found",
                Notice.FellBack("X") to "did not start with MTP, so it runs without",
                Notice.NotDrafting(1.0) to "requested but is not active: 1.00 tokens",
                Notice.OutOfMemory to "out of memory",
                Notice.NotEnoughSpace(3_755_500_000, 1_000_000_000) to "Free 2.76 GB",
                Notice.ChargerPlugged to "Unplug it",
                Notice.SensorsMissing(listOf("a", "b")) to "does not tell: a, b",
                Notice.LogNotWritten("full") to "could not be written: full",
                Notice.GenerationFailed("X") to "runtime failed: X",
                Notice.Unexpected("X") to "does not know: X",
                Notice.BadFile("X is cut short") to "X is cut short",
                Notice.Interrupted(listOf("a.jsonl")) to "marked interrupted: a.jsonl",
            )
        for ((notice, part) in words) assertTrue(part in notice.text, notice.text)
        assertEquals(
            words.size,
            words.keys
                .map { it.text }
                .toSet()
                .size,
        )
    }
}
