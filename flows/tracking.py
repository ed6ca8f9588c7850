class Tracker:
    def __init__(self, session): self.problems=[]
    def opens(self,*a): pass
    begins=ends=fails=close=opens
def all_logged(graph): return True
