"""What paho sees of the broker. Prints one JSON object."""

import json
import sys
import threading

from paho.mqtt import client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

DEADLINE = 20


def plain(properties):
    """Properties as JSON can hold them."""
    all = properties.json() if properties is not None else {}
    if isinstance(all.get("CorrelationData"), bytes):
        all["CorrelationData"] = all["CorrelationData"].hex()
    return all


def wait(event, what):
    if not event.wait(DEADLINE):
        raise SystemExit(f"{what} did not happen")


def connect(port, protocol, client_id):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id, protocol=protocol)
    connected = threading.Event()
    client.connack = None

    def on_connect(_client, _userdata, _flags, reason, properties):
        if reason.is_failure:
            raise SystemExit(f"not connected: {reason}")
        client.connack = plain(properties)
        connected.set()

    client.on_connect = on_connect
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait(connected, "the connection")
    return client


def publish_properties():
    properties = Properties(PacketTypes.PUBLISH)
    properties.PayloadFormatIndicator = 1
    properties.MessageExpiryInterval = 60
    properties.ContentType = "text/plain"
    properties.ResponseTopic = "answer"
    properties.CorrelationData = b"\xff\x00"
    properties.UserProperty = [("a", "1"), ("a", "2")]
    return properties


def exchange(port):
    """Both versions publish at every QoS, and both get everything."""
    clients = {"4": connect(port, mqtt.MQTTv311, "four"), "5": connect(port, mqtt.MQTTv5, "five")}
    received = {}
    for version, client in clients.items():
        received[version] = []
        client.subscribed, client.complete = threading.Event(), threading.Event()

        def on_message(client, _userdata, message, version=version):
            entry = {
                "topic": message.topic,
                "payload": message.payload.decode(),
                "qos": message.qos,
            }
            if version == "5":
                entry["properties"] = plain(message.properties)
            received[version].append(entry)
            if len(received[version]) == 6:
                client.complete.set()

        client.on_message = on_message
        client.on_subscribe = lambda client, *_: client.subscribed.set()
    clients["4"].subscribe("from/+", 2)
    identifier = Properties(PacketTypes.SUBSCRIBE)
    identifier.SubscriptionIdentifier = 42
    clients["5"].subscribe("from/+", options=SubscribeOptions(qos=2), properties=identifier)
    for client in clients.values():
        wait(client.subscribed, "the subscription")
    for qos in range(3):
        clients["4"].publish("from/4", str(qos), qos).wait_for_publish(DEADLINE)
        message = clients["5"].publish("from/5", str(qos), qos, properties=publish_properties())
        message.wait_for_publish(DEADLINE)
    for version, client in clients.items():
        wait(client.complete, f"the delivery to version {version}")
        client.disconnect()
        client.loop_stop()
    return received


def answers(port):
    """Every reason code that the broker has for a client."""
    client = connect(port, mqtt.MQTTv5, "")
    report = {"connack": client.connack}
    done, ended = threading.Event(), threading.Event()
    topics, outcomes = {}, []

    def on_subscribe(_client, _userdata, _mid, reasons, _properties):
        report["suback"] = [reason.value for reason in reasons]
        done.set()

    def on_unsubscribe(_client, _userdata, _mid, reasons, _properties):
        report["unsuback"] = [reason.value for reason in reasons]
        done.set()

    def on_publish(_client, _userdata, mid, reason, _properties):
        outcomes.append((mid, reason.value))
        done.set()

    def on_disconnect(_client, _userdata, flags, _reason, _properties):
        # Its reason is read only where properties follow (paho-mqtt 2.1.0).
        report.setdefault("told to go", flags.is_disconnect_packet_from_server)
        ended.set()

    client.on_subscribe, client.on_unsubscribe = on_subscribe, on_unsubscribe
    client.on_publish, client.on_disconnect = on_publish, on_disconnect
    client.subscribe("a", 1)
    wait(done, "SUBACK")
    done.clear()
    client.unsubscribe(["a", "b"])
    wait(done, "UNSUBACK")
    for topic, qos in [("good", 1), ("bad", 1), ("bad", 2)]:
        done.clear()
        topics[client.publish(topic, "x", qos).mid] = topic
        wait(done, f"the answer to {topic} at QoS {qos}")
    report["published"] = [(topics[mid], reason) for mid, reason in outcomes]
    for _ in range(9):
        client.publish("good", "x", 0)
    wait(ended, "DISCONNECT")
    client.loop_stop()
    return report


if __name__ == "__main__":
    function, port = sys.argv[1], int(sys.argv[2])
    print(json.dumps({"exchange": exchange, "answers": answers}[function](port)))
