// The bus of one game instance: owns the client, hands what it hears to the game thread.
#pragma once

#include "CoreMinimal.h"
#include "Subsystems/GameInstanceSubsystem.h"

#include <memory>

#include "WorldbusSubsystem.generated.h"

namespace google::protobuf { class Message; }
namespace worldbus { class Client; class Subscription; }

/** A line, or the next chunk of one that is still being spoken (then Position is 0). */
DECLARE_MULTICAST_DELEGATE_FourParams(FWorldbusLine, const FString& /*Npc or request*/, const FString& /*Player*/, const FString& /*Text*/, int64 /*Position*/);
/** An event that was queued and is not in the log: its id and why. */
DECLARE_MULTICAST_DELEGATE_TwoParams(FWorldbusRefused, const FString& /*Id*/, const FString& /*Reason*/);

UCLASS()
class WORLDBUS_API UWorldbusSubsystem : public UGameInstanceSubsystem
{
    GENERATED_BODY()

public:
    UWorldbusSubsystem();
    virtual ~UWorldbusSubsystem() override;
    virtual void Deinitialize() override;

    /** Connect. False if no server answers, or the names break the bus's rules; the log says why. */
    bool Open(const FString& Url, const FString& World);

    /** Queue an event about an entity. Never waits. False if it was not taken; the log says why, and Dropped counts it. */
    bool Publish(const FString& Entity, const google::protobuf::Message& Event);

    /** Events that the full queue did not take. */
    uint64 Dropped() const;

    FWorldbusLine OnLine;
    FWorldbusRefused OnRefused;

private:
    std::unique_ptr<worldbus::Client> Client;
    std::unique_ptr<worldbus::Subscription> Lines;
    std::unique_ptr<worldbus::Subscription> Chunks;
};
