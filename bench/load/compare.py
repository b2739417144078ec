async def compare(scale):
    return []
