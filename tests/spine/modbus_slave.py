"""Units of a Modbus bus, by pymodbus; prints `ready` when they can be asked.

modbus_slave.py tcp PORT UNIT...      Modbus TCP on 127.0.0.1
modbus_slave.py serial PATH UNIT...   RTU on a serial port, 9600 baud without parity

Each unit has the same registers. What the units do not have is answered with exception 2, and on a
serial port units that are not named do not answer at all.
"""

import asyncio
import sys

from pymodbus.client.mixin import ModbusClientMixin as Mixin
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

FLOAT = Mixin.DATATYPE.FLOAT32
LONG = Mixin.DATATYPE.UINT64


def little(value, kind):
    """Registers with the lowest one first."""
    return Mixin.convert_to_registers(value, kind, word_order="little")


def swapped(registers):
    """Registers with the low byte first."""
    return [int.from_bytes(register.to_bytes(2, "big"), "little") for register in registers]


def registers(address, values):
    return SimData(address, values=values, datatype=DataType.REGISTERS)


def typed(address, value, datatype):
    return SimData(address, values=value, datatype=datatype)


def unit(address):
    big = 0x123456789ABCDEF0
    holding = [
        typed(0, 65534, DataType.UINT16),
        typed(1, -2, DataType.INT16),
        typed(2, 4000000000, DataType.UINT32),
        typed(4, -70000, DataType.INT32),
        typed(6, 18446744073709551615, DataType.UINT64),
        typed(10, -9223372036854775808, DataType.INT64),
        typed(14, 123.456, DataType.FLOAT32),
        typed(16, -1.5e-7, DataType.FLOAT64),
        typed(20, "EM24-DIN", DataType.STRING),
        registers(24, [0b1000, 1, 2301]),
        registers(30, little(123.456, FLOAT)),
        registers(32, swapped(Mixin.convert_to_registers(123.456, FLOAT))),
        registers(34, swapped(little(123.456, FLOAT))),
        registers(36, little(big, LONG)),
        registers(40, swapped(little(big, LONG))),
        typed(44, float("nan"), DataType.FLOAT32),
        registers(60, [address]),
    ]
    bits = [True, False, True] + [False] * 13
    coils = [SimData(0, values=bits, datatype=DataType.BITS)]
    discrete = [SimData(0, values=bits[::-1], datatype=DataType.BITS)]
    return SimDevice(address, simdata=(coils, discrete, holding, [registers(8, [10])]))


async def main(kind, place, *addresses):
    units = [unit(int(address)) for address in addresses]
    if kind == "tcp":
        address = ("127.0.0.1", int(place))
        server = ModbusTcpServer(units, address=address)
    else:
        # pymodbus 3.16 answers for units that it does not have, whatever ignore_missing_devices says.
        known = {int(address) for address in addresses}

        def silence(sending, frame):
            return b"" if sending and frame[0] not in known else frame

        server = ModbusSerialServer(
            units, port=place, baudrate=9600, parity="N", trace_packet=silence
        )
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
