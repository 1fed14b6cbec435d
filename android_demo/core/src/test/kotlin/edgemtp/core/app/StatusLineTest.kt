package edgemtp.core.app

import edgemtp.core.device.Reading
import edgemtp.core.log.Phase
import edgemtp.core.plan.Arm
import edgemtp.core.run.GateReason
import edgemtp.core.run.Progress
import org.junit.jupiter.api.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue

class StatusLineTest {
    @Test
    fun `the line tells what the phone tells`() {
        assertEquals("", statusLine(Reading()))
        val reading =
            Reading(
                batteryLevel = 0.796,
                charging = true,
                temperatureC = 31.52,
                thermalStatus = 2,
                thermalHeadroom = 0.84,
                lowPowerMode = true,
            )
        assertEquals(
            "battery 80 % · charging · 31.5 °C · thermal MODERATE · headroom 0.84 · power saving",
            statusLine(reading),
        )
    }

    @Test
    fun `a run says where it is and what it waits for`() {
        assertEquals("starting", progressLine(null))
        assertEquals("baseline · 3 replies", progressLine(Progress(Phase.BASELINE, null, null, 3, emptyList())))
        val waiting = progressLine(Progress(Phase.COOLDOWN, 1, Arm.SPEC_ON, 4, GateReason.entries))
        val start = "cooldown · pair 2 · spec_on · 4 replies · waiting: the phone is hot, "
        assertTrue(waiting.startsWith(start), waiting)
        assertTrue(waiting.endsWith("bring the app to the front"))
    }
}
